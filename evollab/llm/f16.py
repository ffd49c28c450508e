"""A GGUF file's weights at 16 bits. Runs in a process of its own: it needs 450 MB for a moment.

Why: with Q4 and Q8 weights llama.cpp rounds the activations too, and a model of 135M answers nonsense
where the same weights at F16 answer as the original does. F16 costs at most 7 % speed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from math import prod
from typing import Any


def main(config: dict[str, Any], report: Callable[[Mapping[str, Any]], None]) -> None:
    """`config`: source, target (paths). Reports {"done": true}, or {"errno": n, "message": ...}."""
    try:
        convert(config["source"], config["target"])
    except OSError as error:  # numpy says how many bytes were not written, and gives no number
        report({"errno": error.errno or errno.ENOSPC, "message": error.strerror or str(error)})
    else:
        report({"done": True})


def convert(source: str, target: str) -> None:
    """Write `source` to `target` with every matrix at F16; vectors kept at F32 stay so, all metadata
    are carried over but the note of the old type. Tensor by tensor. Raises OSError, ValueError."""
    import gguf
    import numpy as np
    from gguf.quants import dequantize

    f16, f32 = np.dtype(np.float16), np.dtype(np.float32)
    reader = gguf.GGUFReader(source)
    fields = reader.fields
    writer = gguf.GGUFWriter(target, arch=fields["general.architecture"].contents())
    dropped = {"general.architecture", "general.file_type", "general.quantization_version"}
    for name, field in fields.items():
        if not name.startswith("GGUF.") and name not in dropped:
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    kinds = [f32 if tensor.tensor_type == gguf.GGMLQuantizationType.F32 else f16 for tensor in reader.tensors]
    for tensor, kind in zip(reader.tensors, kinds, strict=True):
        shape = [int(n) for n in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, kind, prod(shape) * kind.itemsize)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(reader.tensors, kinds, strict=True):
            writer.write_tensor_data(dequantize(tensor.data, tensor.tensor_type).astype(kind))
    finally:
        writer.close()
    with open(target, "rb+") as file:
        os.fsync(file.fileno())
