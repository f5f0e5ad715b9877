"""A real MLflow server on a free port of the loopback interface, for tests/train/report/trackers_test.cpp.

    python tests/reference/tracking_server.py start FOLDER    writes FOLDER/url and FOLDER/pid once it answers
    python tests/reference/tracking_server.py read FOLDER     prints each run: name, status, parameters, metrics by step
    python tests/reference/tracking_server.py stop FOLDER
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request


def start(folder: pathlib.Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--default-artifact-root", str(folder / "artifacts")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store],
        stdout=(folder / "server.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    (folder / "pid").write_text(str(server.pid))
    for _ in range(240):
        try:
            urllib.request.urlopen(url + "/health", timeout=2).read()
            (folder / "url").write_text(url)
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the server does not answer")


def read(folder: pathlib.Path) -> None:
    import mlflow

    client = mlflow.MlflowClient((folder / "url").read_text())
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            print(experiment.name, run.info.run_name, run.info.status, dict(sorted(run.data.params.items())))
            for key in sorted(run.data.metrics):
                values = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
                print(key, sorted(values))


if __name__ == "__main__":
    what, where = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    if what == "stop":
        os.killpg(int((where / "pid").read_text()), signal.SIGTERM)
    else:
        {"start": start, "read": read}[what](where)
