"""Lets lm-eval score texts on a running lamina-serve: python lm_eval_client.py URL [API_KEY] MODEL_DIR.

URL ends in /v1. Needs the package lm_eval. The tasks are files that are written here: one that compares loglikelihoods of
choices, and one that generates. The same choices are scored by hand from /v1/completions. Exits with status 1 and the
failed claim when one does not hold.
"""
import json
import os
import pathlib
import sys
import tempfile
import urllib.request

ROWS = [{"q": "One, two,", "choices": [" three", " blue"], "gold": 0}, {"q": "A, B,", "choices": [" red", " C"], "gold": 1},
        {"q": "Name: Ann, Age:", "choices": [" 7", " |"], "gold": 0}]
TASKS = {
    "choices": {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{choices}}", "doc_to_target": "gold",
                "metric_list": [{"metric": "acc"}], "target_delimiter": ""},
    "words": {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{choices[gold]}}",
              "generation_kwargs": {"max_gen_toks": 4, "temperature": 0, "until": ["\n"]}, "metric_list": [{"metric": "exact_match"}]},
}


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def score(url: str, key: str, model: str, context: str, choice: str) -> float:
    """The sum of the logprobs of a choice's tokens behind the context."""
    body = {"model": model, "prompt": context + choice, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
    request = urllib.request.Request(url + "/completions", json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    logprobs = json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]["logprobs"]
    return sum(p for at, p in zip(logprobs["text_offset"], logprobs["token_logprobs"]) if at >= len(context) and p is not None)


def main() -> None:
    url, key, directory = sys.argv[1:4]
    model = "nano"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(OPENAI_API_KEY=key, HF_HOME=folder, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        import lm_eval
        from lm_eval.tasks import TaskManager
        data = pathlib.Path(folder) / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
        for name, task in TASKS.items():
            whole = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test", **task}
            (pathlib.Path(folder) / f"{name}.yaml").write_text(json.dumps(whole), encoding="utf-8")
        out = lm_eval.simple_evaluate(
            model="local-completions", tasks=list(TASKS), task_manager=TaskManager(include_path=folder, include_defaults=False),
            model_args={"model": model, "base_url": url + "/completions", "tokenizer": directory, "num_concurrent": 2, "max_length": 256},
            log_samples=True, bootstrap_iters=0)
    for sample in out["samples"]["choices"]:
        row = sample["doc"]
        for choice, (found, _) in zip(row["choices"], sample["filtered_resps"]):
            check(f"the loglikelihood of {choice!r} is that of /v1/completions",
                  abs(float(found) - score(url, key, model, row["q"], choice)) < 1e-3)
    check("a score of the choices is reported", 0 <= out["results"]["choices"]["acc,none"] <= 1)
    check("answers are generated", all(len(sample["filtered_resps"]) == 1 for sample in out["samples"]["words"]))


if __name__ == "__main__":
    main()
