# SPDX-License-Identifier: Apache-2.0
"""Token ids against PyPI `tokenizers` and `sentencepiece`, on real corpora and on fuzzed strings."""
import json
import random

import pytest
import sentencepiece
import tokenizers
import transformers

import common
from common import run, shared

TOOL = common.program("tokenize_tool")
CORPORA = [
    "corpus-tinyshakespeare/input.txt",
    "corpus-frankenstein/frankenstein.txt",
    "corpus-tinystories/tinystories_excerpt.txt",
    "corpus-wiki-demo/wiki_demo.txt",
    "corpus-wikitext2/wiki.test.raw",
    "corpus-c4-demo/c4_demo.jsonl",
]
PART = 400_000  # characters of each corpus


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The beginnings of the corpora that are at hand."""
    folder = tmp_path_factory.mktemp("corpora")
    texts = [text_of(common.SHARED / name)[:PART] for name in CORPORA if (common.SHARED / name).exists()]
    return write_all(folder, texts)


def our_ids(tokenizer, files, special=False):
    out = run(TOOL, *(["--special"] if special else []), tokenizer, *files)
    return [json.loads(line) for line in out.splitlines()]


def text_of(path):
    return path.read_bytes().decode("utf-8")


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz ABC",
    "'s't're've'm'll'd 'S'LL ",
    "0123456789 .,:;",
    " \n\t\r\u00a0\u3000\u2028\u180e\u0085\u200b",
    "äöüßéèñçøåłžığſK",
    "абвгдеёжзий АБВ",
    "漢字仮名交じり文한국어 ",
    "ا ب ت ث ج ٠١٢٣ הבג",
    "e\u0301a\u0308o\u0302\u1112\u1161\u11ab",
    "🦙🚀👩‍👩‍👧‍👦🏳️‍🌈½²Ⅷ",
    "▁ ▁▁<s></s><unk><0x0A>",
    "{}[]()<>|#$%^&*-_=+!?\\/\"`~",
]


def fuzzed(seed, count):
    source = random.Random(seed)
    strings = ["", " ", "  ", "\n", "a", " a", "a ", "\u0085", "x" * 300, " " * 70, "\n" * 40]
    while len(strings) < count:
        alphabets = [source.choice(ALPHABETS) for _ in range(source.randint(1, 4))]
        strings.append("".join(source.choice(source.choice(alphabets)) for _ in range(source.randint(1, 60))))
    return strings


def write_all(folder, strings):
    files = []
    for number, string in enumerate(strings):
        path = folder / f"{number}.txt"
        path.write_bytes(string.encode("utf-8"))
        files.append(path)
    return files


@pytest.fixture
def compare(corpora, tmp_path):
    """compare(tokenizer, reference): reference(text) -> ids, for every corpus and many fuzzed strings."""
    folder = tmp_path / "strings"
    folder.mkdir()

    def check(tokenizer, reference, special=False, strings=None):
        files = corpora + write_all(folder, strings if strings is not None else fuzzed(20, 800))
        for path, ids in zip(files, our_ids(tokenizer, files, special), strict=True):
            text = text_of(path)
            assert ids == reference(text), f"{path}: {text[:80]!r}"

    return check


def hugging_face(path):
    loaded = tokenizers.Tokenizer.from_file(str(path))
    return lambda text: loaded.encode(text, add_special_tokens=False).ids


def gpt2_reference():
    folder = shared("tokenizer-gpt2")
    model = tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    loaded = tokenizers.Tokenizer(model)
    loaded.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    loaded.decoder = tokenizers.decoders.ByteLevel()
    return loaded


def test_gpt2_files(compare):
    loaded = gpt2_reference()
    compare(shared("tokenizer-gpt2"), lambda text: loaded.encode(text).ids)


def test_sentencepiece_model(compare):
    path = shared("tokenizer-llama2/tokenizer.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    compare(path, model.encode)


def test_llama2c_export(compare):
    path = shared("tokenizer-llama2/tokenizer.bin")
    model = sentencepiece.SentencePieceProcessor(model_file=str(shared("tokenizer-llama2/tokenizer.model")))
    compare(path, model.encode)


def test_octavo_tokenize(tmp_path):
    """The command says the same as the library, which all the other tests call."""
    text = "<|start_story|>Lily’s cat\n sat.<|end_story|>"
    file = write_all(tmp_path, [text])[0]
    path = shared("model-tinystories-656k/tokenizer.json")
    loaded = tokenizers.Tokenizer.from_file(str(path))
    words = ["tokenize", "--tokenizer", path.parent, "--file", file, "--json"]
    expected = loaded.encode(text, add_special_tokens=False).ids
    assert common.octavo_json(*words, "--parse-special")["ids"] == expected
    assert common.octavo_json(*words)["ids"] != expected

    path = shared("tokenizer-llama2/tokenizer.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    words = ["tokenize", "--tokenizer", path, "--text", text, "--json"]
    assert common.octavo_json(*words)["ids"] == model.encode(text)
    assert common.octavo_json(*words, "--bos")["ids"] == model.encode(text, add_bos=True)


def test_tinystories(compare):
    path = shared("model-tinystories-656k/tokenizer.json")
    strings = fuzzed(3, 500) + ["<|start_story|>Once<|end_story|>", "a <|end_story|> b", "<unk>", "a<unk>"]
    compare(path, hugging_face(path), special=True, strings=strings)


def llama2_as_tokenizer_json(folder, pre_tokenizer):
    """The Llama 2 vocabulary in Hugging Face's format: merges ordered by the id of what they make."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(shared("tokenizer-llama2/tokenizer.model")))
    vocab = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for piece, number in vocab.items():
        if model.is_byte(number) or model.is_control(number) or model.is_unknown(number):
            continue
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += [(number, cut) for cut in sorted(cuts, key=lambda cut: (vocab[cut[0]], vocab[cut[1]]))]
    merges = [cut for _, cut in sorted(merges, key=lambda entry: entry[0])]
    loaded = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if pre_tokenizer:
        loaded.pre_tokenizer = pre_tokenizer
    else:
        loaded.normalizer = tokenizers.normalizers.Sequence(
            [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")])
    d = tokenizers.decoders
    loaded.decoder = d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])
    loaded.add_special_tokens([tokenizers.AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    path = folder / "tokenizer.json"
    loaded.save(str(path))
    return path


@pytest.mark.parametrize("scheme", ["normalizer", "first", "always", "never"])
def test_llama2_tokenizer_json(compare, tmp_path, scheme):
    pre = None if scheme == "normalizer" else tokenizers.pre_tokenizers.Metaspace("▁", scheme)
    path = llama2_as_tokenizer_json(tmp_path, pre)
    compare(path, hugging_face(path), special=True)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level_variants():
    p, n = tokenizers.pre_tokenizers, tokenizers.normalizers
    split = lambda pattern: p.Sequence([
        p.Split(tokenizers.Regex(pattern), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)])
    return {
        "gpt2-prefix": (p.ByteLevel(add_prefix_space=True), None, False),
        "llama3": (split(LLAMA3), None, True),
        "qwen2": (split(QWEN2), n.NFC(), False),
        "smollm": (p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]), None, False),
        "digits": (p.Sequence([p.Digits(individual_digits=False), p.ByteLevel(add_prefix_space=False)]), None, False),
    }


@pytest.mark.parametrize("variant", ["gpt2-prefix", "llama3", "qwen2", "smollm", "digits"])
def test_byte_level_tokenizer_json(compare, tmp_path, variant):
    loaded = gpt2_reference()
    loaded.pre_tokenizer, normalizer, ignore_merges = byte_level_variants()[variant]
    if normalizer:
        loaded.normalizer = normalizer
    loaded.model.ignore_merges = ignore_merges
    loaded.add_special_tokens(["<|endoftext|>", "<|im_start|>"])
    loaded.add_tokens([tokenizers.AddedToken("<tool>", lstrip=True, rstrip=True, normalized=False),
                       tokenizers.AddedToken("wordy", single_word=True)])
    path = tmp_path / "tokenizer.json"
    loaded.save(str(path))
    strings = fuzzed(5, 600) + ["a<|endoftext|>b", "<|im_start|>user\n", "x  <tool> \n y", "wordy words wordys swordy wordy."]
    compare(path, hugging_face(path), special=True, strings=strings)


def test_decoding(tmp_path):
    loaded = gpt2_reference()
    source = random.Random(1)
    for number in range(20):
        ids = [source.randrange(50257) for _ in range(source.randint(0, 150))]
        path = tmp_path / f"{number}.ids"
        path.write_text(" ".join(map(str, ids)))
        ours = run(TOOL, "--decode", shared("tokenizer-gpt2"), path)
        assert ours.decode("utf-8", errors="replace") == loaded.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("corpus,size", [("corpus-tinyshakespeare/input.txt", 4096), ("corpus-frankenstein/frankenstein.txt", 2048),
                                         ("corpus-wikitext2/wiki.test.raw", 8192), ("corpus-wiki-demo/wiki_demo.txt", 1000)])
def test_training(compare, tmp_path, corpus, size):
    path = shared(corpus)
    out = tmp_path / "trained"
    run(TOOL, "--train", size, out, path)
    p = tokenizers.pre_tokenizers
    reference = tokenizers.Tokenizer(tokenizers.models.BPE())
    reference.pre_tokenizer = p.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, min_frequency=2, special_tokens=["<|endoftext|>"],
                                             initial_alphabet=p.ByteLevel.alphabet(), show_progress=False)
    reference.train_from_iterator([text_of(path)], trainer)
    expected = json.loads(reference.to_str())["model"]
    ours = json.loads((out / "tokenizer.json").read_text())["model"]
    assert ours["vocab"] == expected["vocab"]
    assert [merge.split(" ") for merge in ours["merges"]] == expected["merges"]
    compare(out, hugging_face(out / "tokenizer.json"), special=True, strings=fuzzed(9, 300))


def test_transformers_loads_a_trained_tokenizer(tmp_path):
    path = shared("corpus-frankenstein/frankenstein.txt")
    run(TOOL, "--train", 1000, tmp_path / "t", path)
    loaded = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "t"))
    text = text_of(path)[:50000]
    file = tmp_path / "part.txt"
    file.write_bytes(text.encode("utf-8"))
    assert loaded(text, add_special_tokens=False)["input_ids"] == our_ids(tmp_path / "t", [file])[0]
    assert loaded.eos_token_id == 0 and len(loaded) == 1000
