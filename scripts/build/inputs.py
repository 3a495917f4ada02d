"""Inputs of any size for `pretokenizer build`: the datamix of ../shared/oracle/real, enlarged.

Each of the first copies of a row has the sentences of its texts in an order of its own: rows differ, and words are those of
real ones.
"""

import gzip
import json
import random
import re
import shutil
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = SHARED / "oracle" / "real"
SECTIONS = ("orca_megacode_oasst_best", "codellama")
ORCA = "shahules786/orca-chat/orca-chat-gpt4.json"
MEGACODE = "shahules786/megacode-best/megacode.json"
OASST = ".cache/2023-08-25_oasst_ready.jsonl.gz"
FORMATS = ("json", "gz", "parquet", "arrow")


def write(folder: Path, megabytes: float, form: str = "json"):
    """Writes configuration, tokenizer and datasets; the datasets have about so many megabytes of JSON when unpacked."""
    shutil.copytree(REAL / "configs", folder / "configs")
    shutil.copy(SHARED / "tokenizers" / "codellama" / "tokenizer.model", folder / "codellama.model")
    orca = json.loads((REAL / ORCA).read_text())
    megacode = [json.loads(line) for line in (REAL / MEGACODE).read_text().splitlines()]
    with gzip.open(REAL / OASST, "rt", encoding="utf-8") as file:
        trees = [json.loads(line) for line in file]
    size = sum(len(json.dumps(rows)) for rows in (orca, megacode, trees))
    copies = max(1, round(megabytes * 1e6 / size))
    write_rows(folder / ORCA, enlarged(orca, copies, "conversation", "instruction"), form)
    write_rows(folder / MEGACODE, enlarged(megacode, copies, "conversation"), form)
    # Trees nest to any depth, which tables cannot say.
    write_rows(folder / OASST, enlarged(trees, copies, "text"), "gz")


# Making rows takes longer than building shards of them; beyond so many copies, those there are come again.
MOST_COPIES = 32


def enlarged(rows, copies, *keys):
    shuffle = random.Random(1)
    made = []
    for copy in range(copies):
        if copy < MOST_COPIES:
            made.append([changed(row, keys, shuffle) if copy else row for row in rows])
        yield from made[copy % MOST_COPIES]


def changed(value, keys, shuffle, is_text=False):
    """The value, with the sentences of all texts below these keys in another order."""
    if isinstance(value, str):
        if not is_text:
            return value
        sentences = re.split(r"(?<=[.\n])", value)
        shuffle.shuffle(sentences)
        return "".join(sentences)
    if isinstance(value, dict):
        return {key: changed(it, keys, shuffle, is_text or key in keys) for key, it in value.items()}
    if isinstance(value, list):
        return [changed(it, keys, shuffle, is_text) for it in value]
    return value


def write_rows(path: Path, rows, form):
    path.parent.mkdir(parents=True, exist_ok=True)
    if form in ("parquet", "arrow"):
        return write_table(path, rows, form)
    opened = gzip.open(path, "wt", compresslevel=6, encoding="utf-8") if form == "gz" else path.open("w", encoding="utf-8")
    with opened as file:
        for row in rows:
            json.dump(row, file, ensure_ascii=False)
            file.write("\n")


def write_table(path: Path, rows, form):
    """What a file is, its first bytes say: the name may stay."""
    import pyarrow as pa
    import pyarrow.parquet

    writer, schema = None, None
    for batch in batches(rows, 1000):
        table = pa.Table.from_pylist(batch, schema)
        if writer is None:
            schema = table.schema
            writer = pa.parquet.ParquetWriter(path, schema) if form == "parquet" else pa.ipc.new_stream(path, schema)
        writer.write_table(table)
    writer.close()


def batches(rows, n):
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch
