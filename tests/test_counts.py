"""A number counts the thing whose word stands beside it (assistant/loop/counts.py)."""

from __future__ import annotations

import pytest

from assistant.loop.counts import counts
from assistant.loop.roles import candidates, hostlists, relative_signs
from assistant.loop.said import Said

CASES = {
    "submit train.sh on 2 nodes with 8 h100s each for 4 hours": {"nodes": [1, 2], "gpus_per_node": [1, 8]},
    "8 h100 nodes": {"nodes": [1, 8], "gpus": [1]},
    "nodes=4 gpus/node=8 16 cores": {"nodes": [1, 4], "gpus_per_node": [1, 8], "cpus_per_task": [1, 16]},
    "--nodes=2 --ntasks-per-node=4 --gpus-per-node=h100:8": {"nodes": [1, 2], "ntasks": [1, 4], "gpus": [1, 8]},
    "2 nodes 8 gpus": {"nodes": [1, 2], "gpus": [1, 8]},
    "4x h100, 6 ranks": {"gpus": [1, 4], "ntasks": [1, 6], "nodes": [1]},
    "zwei Knoten mit je 4 GPUs": {"nodes": [1, 2], "gpus_per_node": [1, 4]},
    "노드 2개에 h100 8장씩": {"nodes": [1, 2], "gpus_per_node": [1, 8]},
    "2 个节点, 每个节点 4 张 a100": {"gpus_per_node": [1, 4]},
    "train.py --bs 256 on 4 L4 cards": {"gpus": [1, 4]},
    "a.py, eight hrs, one v100": {"gpus": [1]},
    "4 of them, please": {"nodes": [1, 4], "gpus": [1, 4], "lines": [1, 4]},
    "last 50 lines of the log, it had 3 nodes": {"lines": [1, 50], "nodes": [1, 3]},
}


@pytest.mark.parametrize("request_text", CASES)
def test_a_number_is_offered_only_for_what_it_counts(request_text: str) -> None:
    wanted = CASES[request_text]
    assert {name: counts(name, Said(request_text)) for name in wanted} == wanted


def test_the_digits_of_a_gpu_type_and_of_a_measure_count_nothing() -> None:
    assert counts("nodes", Said("an h100 with 80 GB for 12 hours")) == [1]


@pytest.mark.parametrize(
    ("request_text", "types", "jobs"),
    [
        ("any RTX 4090 free", ("rtx_4090",), ()),
        ("an rtx card", (), ()),
        ("A6000 for 4711", ("a6000",), ("4711",)),
        ("gtx1080ti or RTX 6000 Ada", ("gtx1080ti", "rtx_6000_ada"), ()),
    ],
)
def test_a_gpu_type_is_one_thing_and_its_digits_are_no_job(
    request_text: str, types: tuple[str, ...], jobs: tuple[str, ...]
) -> None:
    assert (Said(request_text).gpu_types, Said(request_text).job_ids) == (types, jobs)


@pytest.mark.parametrize(
    ("request_text", "lists"),
    [
        ("drain del-r740-[11,13] please", ["del-r740-[11,13]"]),
        ("run it on compute nodes", []),
        ("zwei Knoten bitte", []),
    ],
)
def test_a_list_of_nodes_is_offered_whole_and_other_words_are_not(request_text: str, lists: list[str]) -> None:
    assert hostlists(Said(request_text)) == lists


def test_an_ordinary_word_is_a_partition_only_after_the_word_for_one() -> None:
    assert candidates("partition", Said("partition = week, a.sh")) == ["week"]
    assert candidates("partition", Said("how full are all partitions this week")) == []


def test_a_name_in_quotation_marks_can_be_a_jobs() -> None:
    assert candidates("name", Said("the running 'pretrain' jobs of @mhoang, don't ask")) == ["pretrain"]


@pytest.mark.parametrize(
    ("request_text", "signs"),
    [("job 71: limit up by 4h", ("+",)), ("cut 9041 by half an hour", ("-",)), ("reduce 123 to 2h", ("",))],
)
def test_the_sign_of_a_change_is_in_the_words(request_text: str, signs: tuple[str, ...]) -> None:
    assert relative_signs(Said(request_text)) == signs
