"""try_it.py NANO_FOLDER: what my_models can do, checked. Run where the module was built: PYTHONPATH=build-python."""

import sys
import tempfile

import my_models
import numpy as np

nano = my_models.Nano(sys.argv[1])
name = "model.language_model.layers.1.mlp.up_proj.weight"
assert name in nano.names()
hidden, logits = nano.forward([1, 2, 3])
assert hidden.shape[0] == logits.shape[0] == 3

# A tensor is a view: what is written there is what the model computes with.
weight = nano[name]
weight *= 0.5
assert np.shares_memory(weight, nano[name])
assert not np.allclose(nano.forward([1, 2, 3])[1], logits)
weight *= 2
assert np.array_equal(nano.forward([1, 2, 3])[1], logits)
assert nano.generate([1, 2, 3], 2)[0] == logits[-1].argmax()

# A model of one's own learns a sequence by heart.
mine = my_models.Mine(seed=3)
text = [5, 17, 9, 44, 3, 8]
losses = [mine.step([text], learning_rate=3e-3) for _ in range(30)]
assert losses[-1] < 0.1 * losses[0], losses
assert mine.generate(text[:2], 4) == text[2:]
with tempfile.TemporaryDirectory() as folder:
    mine.save(folder + "/mine.safetensors")
    again = my_models.Mine(folder + "/mine.safetensors")
assert np.array_equal(again.forward(text)[1], mine.forward(text)[1])
for bad in (lambda: nano["no such tensor"], lambda: nano.forward([-1]), lambda: mine.step([[1]]), lambda: mine.step([text], aux_loss_coef=1)):
    try:
        bad()
    except (KeyError, RuntimeError, ValueError) as error:
        print("refused:", error)
    else:
        raise AssertionError("was not refused")
print("losses", round(losses[0], 3), "to", round(losses[-1], 3))
