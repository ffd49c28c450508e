"""Converting a GGUF file: every value, every note, and a disk without room."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

gguf: Any = pytest.importorskip("gguf", reason='needs the extra: pip install ".[local]"')
np: Any = pytest.importorskip("numpy", reason='needs the extra: pip install ".[local]"')

from evollab.llm import f16  # noqa: E402

KINDS = ("Q4_1", "Q8_0", "Q4_0", "F16", "BF16", "F32")
TEXT = "{% for m in messages %}é\n{% endfor %}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one matrix of each kind, a vector, and a note of each type."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, arch="llama")
    writer.add_string("tokenizer.chat_template", TEXT)
    writer.add_array("tokenizer.ggml.tokens", ["a", "Ġb", "", "漢"])
    writer.add_array("tokenizer.ggml.token_type", [1, 3, -1, 6])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_float32("llama.rope.freq_base", 100000.0)
    writer.add_uint64("big", 1 << 40)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_quantization_version(2)
    for name in KINDS:
        kind = gguf.GGMLQuantizationType[name]
        matrix = random.normal(0, 2, (6, 64)).astype(np.float32)
        data = gguf.quants.quantize(matrix, kind)
        writer.add_tensor(f"matrix.{name}", data, raw_dtype=None if data.dtype.kind == "f" else kind)
    writer.add_tensor("norm", random.normal(0, 1, 7).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_values_shapes_and_kinds(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "half.gguf"
    f16.convert(str(source), str(target))
    old = {t.name: t for t in gguf.GGUFReader(source).tensors}
    new = {t.name: t for t in gguf.GGUFReader(target).tensors}
    assert list(new) == list(old)
    for name, tensor in new.items():
        assert list(tensor.shape) == list(old[name].shape)
        exact = gguf.quants.dequantize(old[name].data, old[name].tensor_type)
        kept = old[name].tensor_type == gguf.GGMLQuantizationType.F32
        assert tensor.tensor_type.name == ("F32" if kept else "F16")
        assert np.array_equal(tensor.data, exact if kept else exact.astype(np.float16)), name
        assert np.abs(exact).max() > 0.1


def test_all_notes_are_carried_but_the_old_kind(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "half.gguf"
    f16.convert(str(source), str(target))
    old, new = gguf.GGUFReader(source).fields, gguf.GGUFReader(target).fields
    assert new["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_F16
    assert "general.quantization_version" not in new
    assert new["tokenizer.chat_template"].contents() == TEXT
    for name in set(old) - {"general.file_type", "general.quantization_version", "GGUF.kv_count"}:
        assert new[name].contents() == old[name].contents(), name
        assert new[name].types == old[name].types, name


def test_the_same_input_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        f16.convert(str(source), str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def reports(source: Path, target: Path) -> dict[str, Any]:
    said: list[Any] = []
    f16.main({"source": str(source), "target": str(target)}, said.append)
    (only,) = said
    return only


def test_reports(source: Path, tmp_path: Path) -> None:
    assert reports(source, tmp_path / "half.gguf") == {"done": True}
    assert reports(source, tmp_path / "no folder" / "half.gguf")["errno"] == errno.ENOENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_reported(source: Path, tmp_path: Path) -> None:
    (tmp_path / "half.gguf").symlink_to("/dev/full")
    assert reports(source, tmp_path / "half.gguf")["errno"] == errno.ENOSPC
