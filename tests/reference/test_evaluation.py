# SPDX-License-Identifier: Apache-2.0
"""octavo eval on tasks and texts against transformers, and against lm-evaluation-harness itself on the same items."""
import json
import math
import pathlib

import numpy as np
import pytest
import torch
import transformers

import common
import evaluation_items

TASKS = ["hellaswag", "arc_easy", "piqa", "lambada_openai", "blimp", "mmlu"]
TOLERANCE = 1e-4  # of the log-likelihood of one token


def task_folder(folder):
    """The shared data, of BLiMP and MMLU only what is compared."""
    folder.mkdir()
    for name in ["hellaswag", "arc-easy", "piqa", "lambada"]:
        (folder / f"eval-{name}").symlink_to(common.shared(f"eval-{name}"))
    (folder / "eval-blimp").mkdir()
    for name in evaluation_items.PARADIGMS:
        (folder / "eval-blimp" / f"{name}.jsonl").symlink_to(common.shared(f"eval-blimp/{name}.jsonl"))
    for split in ("dev", "test"):
        (folder / "eval-mmlu" / split).mkdir(parents=True)
        for name in evaluation_items.SUBJECTS:
            file = f"eval-mmlu/{split}/{name}_{split}.csv"
            (folder / file).symlink_to(common.shared(file))
    return folder


def octavo_tasks(model, folder, tasks=TASKS):
    """The items of every task as octavo judged them, and the figures."""
    folder.mkdir(exist_ok=True)
    figures = common.octavo_json("eval", "--model", model, "--recipe", "fp32", "--tasks", ",".join(tasks), "--task-data",
                                 task_folder(folder / "tasks"), "--limit", evaluation_items.COUNT, "--log-items",
                                 folder / "items.jsonl", "--json")["tasks"]
    items = {task: [] for task in tasks}
    for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        items[item["task"]].append(item)
    return figures, items


def split(encode, context, continuation, longest, prefix):
    """Tokens the model reads and, of the end, those it is scored on."""
    if context:
        before = encode(context.rstrip())
        after = encode(context + continuation)[len(before):]
    else:
        before, after = [prefix], encode(continuation, False)
    return (before + after)[-(longest + 1):], len(after)


def log_likelihood(model, tokens, scored):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens[:-1]])).logits[0, -scored:]
    targets = torch.tensor(tokens[-scored:])
    found = torch.log_softmax(logits.double(), -1)[torch.arange(scored), targets]
    return found.sum().item(), bool((logits.argmax(-1) == targets).all())


def compare_items(model, encode, prefix, items, task):
    longest = model.config.max_position_embeddings
    expected = evaluation_items.prompts(task)
    assert len(items) == len(expected) >= evaluation_items.COUNT
    for item, (group, context, choices, gold) in zip(items, expected):
        assert (item.get("group", ""), item["context"], item["choices"]) == (group, context, choices)
        assert item.get("gold", 0) == gold
        for choice, ours in zip(choices, item["log_likelihood"]):
            tokens, scored = split(encode, context, " " + choice, longest, prefix)
            theirs, greedy = log_likelihood(model, tokens, scored)
            assert ours == pytest.approx(theirs, abs=TOLERANCE * scored)
            if task == "lambada_openai":
                assert item["greedy"] == greedy


def tinystories_tokenizer():
    """As its tokenizer.json says. AutoTokenizer of transformers 5 builds one of its own for every Llama, which here drops
    unknown characters and puts no space before a text that begins with one."""
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(common.shared("model-tinystories-656k/tokenizer.json")),
                                                bos_token="<|start_story|>", eos_token="<|end_story|>", unk_token="<unk>")


@pytest.fixture(scope="module")
def tinystories(tmp_path_factory):
    model = common.shared("model-tinystories-656k")
    return model, *octavo_tasks(model, tmp_path_factory.mktemp("tinystories") / "items")


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    source, folder = common.shared("model-stories260K"), tmp_path_factory.mktemp("stories")
    common.octavo("import", "--input", source / "stories260K.bin", "--tokenizer", source / "tok512.bin", "--out", folder / "model")
    return folder / "model", *octavo_tasks(folder / "model", folder / "items", ["hellaswag", "blimp"])


@pytest.mark.parametrize("task", [t for t in TASKS if t != "lambada_openai"])
def test_tasks_on_tinystories(tinystories, task):
    directory, _, items = tinystories
    tokenizer = tinystories_tokenizer()

    def encode(text, special=True):
        return tokenizer.encode(text, add_special_tokens=special)

    compare_items(common.load_torch(directory), encode, tokenizer.bos_token_id, items[task], task)


@pytest.mark.parametrize("task", ["hellaswag", "blimp"])
def test_tasks_on_stories260k(stories, task):
    """Its tokenizer has no form that transformers reads, so the ids are octavo's."""
    directory, _, items = stories
    known = {}

    def encode(text, special=True):
        if (text, special) not in known:
            words = ["tokenize", "--tokenizer", directory, "--text", text, "--json"] + (["--bos"] if special else [])
            known[text, special] = common.octavo_json(*words)["ids"]
        return known[text, special]

    compare_items(common.load_torch(directory), encode, 1, items[task], task)


def harness(directory, folder, tasks, tokenizer=None):
    """Results and samples of lm-evaluation-harness: its own task files, reading our items."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    shipped = pathlib.Path(lm_eval.__file__).parent / "tasks"
    made = {}
    for task in tasks:
        if task == "blimp":
            made.update({f"{task}_{p}": (f"blimp/{p}.yaml", evaluation_items.blimp(p)) for p in evaluation_items.PARADIGMS})
        elif task == "mmlu":
            made.update({f"{task}_{s}": (f"mmlu/default/mmlu_{s}.yaml", evaluation_items.mmlu(s, "test")) for s in evaluation_items.SUBJECTS})
        else:
            group = {"arc_easy": "arc", "lambada_openai": "lambada"}.get(task, task)
            made[task] = (f"{group}/{task}.yaml", getattr(evaluation_items, task)())
    folder.mkdir()
    for name, (file, items) in made.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
        splits = {split: str(data) for split in ("train", "validation", "test")}
        if name.startswith("mmlu_"):
            shots = folder / f"{name}_dev.jsonl"
            shots.write_text("".join(json.dumps(d) + "\n" for d in evaluation_items.mmlu(name[5:], "dev", 5)), encoding="utf-8")
            splits["dev"] = str(shots)
        # A task file in YAML, of which JSON is a part.
        (folder / f"octavo_{name}.yaml").write_text(json.dumps({
            "include": str(shipped / file), "task": f"octavo_{name}", "tag": [], "dataset_path": "json", "dataset_name": None,
            "dataset_kwargs": {"data_files": splits, "cache_dir": str(folder / "cache")},
            "num_fewshot": 5 if name.startswith("mmlu_") else 0}))
    model = HFLM(pretrained=str(directory), tokenizer=tokenizer, device="cpu", dtype="float32", batch_size=4)
    found = lm_eval.simple_evaluate(model=model, tasks=[f"octavo_{name}" for name in made], log_samples=True, bootstrap_iters=0,
                                    task_manager=TaskManager(include_path=str(folder)))
    return {name: (found["results"][f"octavo_{name}"], found["samples"][f"octavo_{name}"]) for name in made}


def compare_with_harness(figures, items, found):
    for name, (results, samples) in found.items():
        task = name if name in items else name.split("_", 1)[0]
        group = name.split("_", 1)[1] if task != name else ""
        ours = [item for item in items[task] if item.get("group", "") == group]
        samples = sorted(samples, key=lambda sample: sample["doc_id"])
        assert len(ours) == len(samples) >= evaluation_items.COUNT
        for item, sample in zip(ours, samples):
            arguments = [tuple(pair) for pair in sample["arguments"]]
            assert arguments == [(item["context"], " " + choice) for choice in item["choices"]]
            theirs = [response[0][0] for response in sample["resps"]]
            assert item["log_likelihood"] == pytest.approx(theirs, abs=5e-3, rel=1e-5), name  # sums of up to 200 float32
            if task == "lambada_openai":
                assert item["greedy"] == bool(sample["acc"])
            else:
                assert sample["acc"] == (item["choice"] == item["gold"])
            if "choice_norm" in item:
                assert sample["acc_norm"] == (item["choice_norm"] == item["gold"])
        mine = figures[task]["groups"][group] if group else figures[task]
        for metric in ("acc", "acc_norm", "perplexity"):
            assert (metric in mine) == (f"{metric},none" in results)
            if metric in mine:
                assert mine[metric] == pytest.approx(results[f"{metric},none"], rel=1e-4)


def test_against_the_harness(tinystories, tmp_path):
    directory, figures, items = tinystories
    tasks = [task for task in TASKS if task != "lambada_openai"]
    compare_with_harness(figures, items, harness(directory, tmp_path / "harness", tasks, tinystories_tokenizer()))


def test_against_the_harness_with_a_trained_model(dataset, tmp_path):
    """GPT-2 without BOS: an empty context is the end-of-text token. Words do not cross spaces, as LAMBADA needs."""
    common.octavo("train", "--train-data", dataset, "--recipe", "fp32", "--steps", 30, "--warmup-steps", 5, "--lr", 5e-3, "--micro-batch", 4,
                  "--eval-batches", 1, "--out", tmp_path / "run", "--set=model.family=gpt2", "--set=model.width=48", "--set=model.heads=3",
                  "--set=model.context=512", "--set=model.layers=2", "--seq-len", 128)
    tasks = ["hellaswag", "lambada_openai", "blimp", "mmlu"]
    figures, items = octavo_tasks(tmp_path / "run" / "final", tmp_path / "items", tasks)
    compare_with_harness(figures, items, harness(tmp_path / "run" / "final", tmp_path / "harness", tasks))


@pytest.mark.parametrize("stride", [128, 50, 256])
def test_strided_perplexity(stride, tmp_path):
    """The loop of transformers' documentation, each window weighted with the tokens it predicts."""
    directory = common.shared("model-tinystories-656k")
    text = common.shared("corpus-tinystories/tinystories_excerpt.txt").read_text(encoding="utf-8")[:20_000]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    ours = common.octavo_json("eval", "--model", directory, "--recipe", "fp32", "--text", tmp_path / "text.txt", "--seq-len", 256, "--stride",
                              stride, "--json")["text"]
    model, tokenizer = common.load_torch(directory), tinystories_tokenizer()
    ids = tokenizer(text, return_tensors="pt").input_ids
    total, count, previous = 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + 256, ids.shape[1])
        inputs = ids[:, begin:end]
        targets = inputs.clone()
        targets[:, :previous - end] = -100
        predicted = (targets[:, 1:] != -100).sum().item()
        with torch.no_grad():
            total += model(inputs, labels=targets).loss.double().item() * predicted
        count += predicted
        previous = end
        if end == ids.shape[1]:
            break
    assert ours["scored_tokens"] == count and ours["tokens"] == ids.shape[1] - 1
    assert ours["token_perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)
    whole = total / count * ours["tokens"]
    assert ours["word_perplexity"] == pytest.approx(math.exp(whole / len(text.split())), rel=1e-4)
    assert ours["byte_perplexity"] == pytest.approx(math.exp(whole / len(text.encode())), rel=1e-5)


def test_divergence_of_two_models(tmp_path):
    """A model against itself with noise on every weight."""
    directory = common.shared("model-tinystories-656k")
    text = common.shared("corpus-tinystories/tinystories_excerpt.txt").read_text(encoding="utf-8")[:6_000]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    tokenizer = tinystories_tokenizer()
    first, second = common.load_torch(directory), common.load_torch(directory)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    second.save_pretrained(tmp_path / "noisy")
    tokenizer.save_pretrained(tmp_path / "noisy")
    ours = common.octavo_json("eval", "--model", directory, "--model-b", tmp_path / "noisy", "--recipe", "fp32", "--text",
                              tmp_path / "text.txt", "--seq-len", 256, "--json")["text"]
    ids = tokenizer(text, return_tensors="pt").input_ids[0]
    divergence, same, losses = [], 0, np.zeros(2)
    for begin in range(0, len(ids), 256):
        window = ids[begin:begin + 256]
        with torch.no_grad():
            p, q = (torch.log_softmax(model(window[None]).logits[0, :-1].double(), -1) for model in (first, second))
        divergence += (p.exp() * (p - q)).sum(-1).tolist()
        same += (p.argmax(-1) == q.argmax(-1)).sum().item()
        losses -= [x[torch.arange(len(window) - 1), window[1:]].sum().item() for x in (p, q)]
    assert ours["scored_tokens"] == len(divergence)
    assert ours["kl"]["mean"] == pytest.approx(np.mean(divergence), rel=1e-4)
    assert ours["kl"]["p99"] == pytest.approx(np.quantile(divergence, 0.99, method="inverted_cdf"), rel=1e-4)
    assert ours["kl"]["max"] == pytest.approx(max(divergence), rel=1e-4)
    assert ours["top1_agreement"] == pytest.approx(same / len(divergence), abs=1.5 / len(divergence))
    assert [ours["loss"]["a"], ours["loss"]["b"]] == pytest.approx(list(losses / len(divergence)), rel=1e-5)
    assert ours["loss"]["low"] < ours["loss"]["difference"] < ours["loss"]["high"]
