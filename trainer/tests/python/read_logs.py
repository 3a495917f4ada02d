"""Reads what a run wrote for W&B and TensorBoard with wandb's and TensorBoard's own readers, and prints it as JSON.

    read_logs.py RUN_FOLDER

wandb's reader of offline runs is that of wandb 0.26, the last with one in Python; the format is the same since.
"""

import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore


def read_wandb(path):
    store = DataStore()
    store.open_for_scan(str(path))
    run = {"config": {}, "history": [], "summary": {}, "exit_code": None}
    numbers = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        numbers.append(record.num)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.update(id=record.run.run_id, project=record.run.project, name=record.run.display_name)
            run["tags"] = list(record.run.tags)
            run["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            line = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            assert line["_step"] == record.history.step.num
            run["history"].append(line)
        elif kind == "summary":
            run["summary"].update({item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update})
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
        else:
            assert kind == "header", kind
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    return run


def read_tensorboard(path):
    scalars = []
    # The loader checks both checksums of every record.
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            # It turns plain numbers into tensors of one.
            scalars.append([value.tag, event.step, make_ndarray(value.tensor).item()])
    return scalars


def main():
    folder = Path(sys.argv[1])
    [wandb_file] = folder.glob("wandb/offline-run-*/run-*.wandb")
    [event_file] = folder.glob("tensorboard/events.out.tfevents.*")
    print(json.dumps({"wandb": read_wandb(wandb_file), "tensorboard": read_tensorboard(event_file)}))


main()
