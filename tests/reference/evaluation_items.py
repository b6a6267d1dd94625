# SPDX-License-Identifier: Apache-2.0
"""The first items of the shared evaluation data, as the data sets of lm-evaluation-harness have them, and their prompts."""
import csv
import json
import re

import common

COUNT = 25
SUBJECTS = ["abstract_algebra", "global_facts"]
PARADIGMS = ["anaphor_gender_agreement", "transitive", "wh_island"]


def lines(name, count=COUNT):
    with open(common.shared(name), encoding="utf-8") as file:
        return [next(file).rstrip("\n") for _ in range(count)]


def rows(name, count=COUNT):
    return [json.loads(line) for line in lines(name, count)]


def hellaswag():
    text = lines("eval-hellaswag/hellaswag_val_0000-1999.txt", 6 * COUNT)
    items = []
    for at in range(0, len(text), 6):
        activity, context = text[at].split(": ", 1)
        parts = re.match(r"(.*[.?!][\"']? )(.*)", context)  # the last end of a sentence parts ctx_a and ctx_b
        items.append({"activity_label": activity, "ctx_a": parts[1].rstrip(), "ctx_b": parts[2], "endings": text[at + 2:at + 6],
                      "label": text[at + 1]})
    return items


def arc_easy():
    items = []
    for row in rows("eval-arc-easy/test.jsonl"):
        choices = row["question"]["choices"]
        labels = [choice["label"] for choice in choices]
        answer = row["answerKey"] if row["answerKey"] in labels else labels["ABCD".index(row["answerKey"])]
        items.append({"question": row["question"]["stem"], "choices": {"text": [c["text"] for c in choices], "label": labels},
                      "answerKey": answer})
    return items


def piqa():
    labels = lines("eval-piqa/valid-labels.lst")
    return [dict(row, label=int(label)) for row, label in zip(rows("eval-piqa/valid.jsonl"), labels)]


def lambada_openai():
    return rows("eval-lambada/lambada_test.jsonl")


def blimp(paradigm):
    return rows(f"eval-blimp/{paradigm}.jsonl")


def mmlu(subject, split, count=COUNT):
    with open(common.shared(f"eval-mmlu/{split}/{subject}_{split}.csv"), encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))[:count]
    return [{"question": row["question"], "choices": [row[f"choice{i}"] for i in range(4)], "answer": int(row["answer"])} for row in table]


def swag_text(text):
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def mmlu_question(item):
    return item["question"].strip() + "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", item["choices"])) + "\nAnswer:"


def prompts(task):
    """(group, context, choices, index of the right one) of each item."""
    if task == "hellaswag":
        return [("", swag_text(f"{d['activity_label']}: {d['ctx_a']} {d['ctx_b'].capitalize()}"), [swag_text(e) for e in d["endings"]],
                 int(d["label"])) for d in hellaswag()]
    if task == "arc_easy":
        return [("", f"Question: {d['question']}\nAnswer:", d["choices"]["text"], d["choices"]["label"].index(d["answerKey"]))
                for d in arc_easy()]
    if task == "piqa":
        return [("", f"Question: {d['goal']}\nAnswer:", [d["sol1"], d["sol2"]], d["label"]) for d in piqa()]
    if task == "lambada_openai":
        return [("", *(lambda words: (" ".join(words[:-1]), [words[-1]]))(d["text"].split(" ")), 0) for d in lambada_openai()]
    if task == "blimp":
        return [(p, "", [d["sentence_good"], d["sentence_bad"]], 0) for p in PARADIGMS for d in blimp(p)]
    found = []
    for subject in SUBJECTS:
        start = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
        start += "".join(f"{mmlu_question(d)} {'ABCD'[d['answer']]}\n\n" for d in mmlu(subject, "dev", 5))
        found += [(subject, start + mmlu_question(d), list("ABCD"), d["answer"]) for d in mmlu(subject, "test")]
    return found
