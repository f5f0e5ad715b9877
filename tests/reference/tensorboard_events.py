"""Prints what TensorBoard's own reader finds below a folder of event files, a line for each value:

    python tests/reference/tensorboard_events.py FOLDER

TAG STEP VALUE of scalars, TAG: and the text of texts. Used by tests/train/report/tensorboard_test.cpp where Python has tensorboard.
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"tensors": 0, "scalars": 0})
events.Reload()
for tag in sorted(events.Tags()["scalars"]):
    for event in events.Scalars(tag):
        print(tag, event.step, f"{event.value:.6g}")
for tag in sorted(events.Tags()["tensors"]):
    for event in events.Tensors(tag):
        print(f"{tag}: {event.tensor_proto.string_val[0].decode()}")
