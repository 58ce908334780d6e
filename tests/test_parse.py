"""The readers of Slurm's text, on literal text of Slurm's."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import recording, world
from tools.slurm.errors import InvalidRequest
from tools.slurm.hostlist import expand, fold
from tools.slurm.parse import jobs, nodes, records
from tools.slurm.parse import values as v

DAY = 86400


@pytest.mark.parametrize("path", sorted(recording.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_generation_is_read_alike(path: object) -> None:
    backend, ids, provenance = recording.load(path)  # type: ignore[arg-type]
    world.check(backend, ids)
    assert provenance["slurm"] == ".".join(f"{part:02d}" for part in backend.version()[:2])


def test_there_are_recordings() -> None:
    assert any(recording.FOLDER.glob("*.json"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04", DAY + 7384), ("2-00:00:00", 2 * DAY), ("1-12", DAY + 43200), ("1-02:30", DAY + 9000),
        ("10:00:00", 36000), ("1:00", 60), ("0:49", 49), ("7", 7), ("00:00:01", 1), ("00:01.204", 1),
        ("UNLIMITED", -1), ("INFINITE", -1), ("N/A", None), ("INVALID", None), ("Partition_Limit", None), ("", None),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: int | None) -> None:
    assert v.seconds(text) == seconds


def test_the_fraction_of_cpu_time_is_kept() -> None:
    assert v.exact_seconds("00:01.204") == pytest.approx(1.204)
    assert v.exact_seconds("1-00:00:01") == DAY + 1


@given(st.integers(0, 400 * DAY))
def test_durations_as_slurm_writes_them(total: int) -> None:
    days, rest = divmod(total, DAY)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    assert v.seconds(f"{days}-{clock}" if days else clock) == total


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("10G", 10240), ("4000M", 4000), ("512K", 0.5), ("4000Mc", 4000), ("64Gn", 65536), ("1.5T", 1572864), ("0", 0),
     ("7", 7), ("", None), ("16?", None)],
)  # fmt: skip
def test_memory(text: str, mebibytes: float | None) -> None:
    assert v.mebibytes(text) == mebibytes


@pytest.mark.parametrize(("text", "code"), [("0", "0:0"), ("768", "3:0"), ("15", "0:15"), ("9:0", "9:0"), ("", "")])
def test_exit_codes(text: str, code: str) -> None:
    assert v.exit_code(text) == code


@pytest.mark.parametrize(
    ("text", "count"),
    [("2-9%3", 8), ("0-9:2", 5), ("1,3,5", 3), ("0-2,7", 4), ("4", 1), ("", 1), ("N/A", 1), ("0-99:3%5", 34)],
)
def test_array_sizes(text: str, count: int) -> None:
    assert v.array_size(text) == count


def test_nothing_has_many_names() -> None:
    for word in ("(null)", "N/A", "None", "Unknown", "", " ", "n/s"):
        assert v.text(word) == ""
    assert v.moment("Unknown") is None and v.moment("N/A") is None
    assert v.moment("2026-11-21T04:50:20") == datetime(2026, 11, 21, 4, 50, 20)
    assert (v.number("2-2"), v.number("4"), v.number("(null)")) == (2, 4, 0)
    assert (v.names("ALL"), v.names("a,b"), v.names("(null)")) == ((), ("a", "b"), ())
    assert v.state("CANCELLED by 1000") == "CANCELLED"


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("gres:gpu:h100:2", {"h100": 2}),
        ("gres/gpu:h100:2", {"h100": 2}),
        ("gres:gpu:4", {"": 4}),
        ("gres:gpu", {"": 1}),
        ("gpu:h100", {"h100": 1}),
        ("gpu:a100_3g.20gb:4,gpu:a100_1g.5gb:4", {"a100_3g.20gb": 4, "a100_1g.5gb": 4}),
        ("gpu:h100:8(S:0-1)", {"h100": 8}),
        ("gpu:a100:3(IDX:0-2,5),gpu:h100:0(IDX:N/A)", {"a100": 3, "h100": 0}),
        ("cpu=8,mem=4G,node=1,billing=8,gres/gpu=2,gres/gpu:h100=2", {"": 2, "h100": 2}),
        ("gres/gpumem=80G,gres/gpuutil=10", {}),
        ("craynetwork:1", {}),
        ("(null)", {}),
        ("N/A", {}),
    ],
)
def test_gpus_in_every_form(text: str, counts: dict[str, int]) -> None:
    assert v.gpu_counts(text) == counts


def test_a_jobs_gpus() -> None:
    assert v.gpus_of("cpu=1,gres/gpu=2,gres/gpu:h100=2", 1) == (2, "h100")
    assert v.gpus_of("cpu=1,gres/gpu:h100=2", 1) == (2, "h100")
    # Where accounting counts only the untyped, the type is in what was asked for.
    assert v.gpus_of("cpu=2,gres/gpu=16", 2, per_node="gres:gpu:h100:8") == (16, "h100")
    # Without accounting nothing is counted.
    assert v.gpus_of("cpu=2,node=2", 2, per_node="gres:gpu:h100:8") == (16, "h100")
    assert v.gpus_of("cpu=2,node=1", 1, per_job="gres:gpu:4") == (4, "")
    assert v.gpus_of("cpu=4,node=2", 2, per_task=("gres/gpu:1", 4)) == (4, "")
    assert v.gpus_of("", 2, per_node="gres:gpu:h100:1,gres:gpu:a100:1") == (4, "")
    assert v.gpus_of("cpu=1", 1) == (0, "")


def test_columns_hold_anything_but_their_separator() -> None:
    output = "1@=@a b\nc|d@=@\n2@=@@=@\n"
    assert list(records.columns(output, ("id", "name"), "@=@")) == [
        {"id": "1", "name": "a b\nc|d"},
        {"id": "2", "name": ""},
    ]
    assert list(records.columns("", ("id", "name"), "@=@")) == []
    for cut in ("1@=@a", "1@=@a@=@\n2@=@", "1@=@a@=@\nrest"):
        with pytest.raises(ValueError, match="rows of 2"):
            list(records.columns(cut, ("id", "name"), "@=@"))


@given(st.lists(st.tuples(st.text(), st.text().map(lambda text: text + ".")), max_size=8))
def test_columns_give_back_what_was_put_in(rows: list[tuple[str, str]]) -> None:
    # Slurm's first column is an id: it never begins with a line end.
    plain = [(f"7{first}", second) for first, second in rows if "@=@" not in first + second + first]
    plain = [row for row in plain if "@" not in row[0] + row[1]]
    output = "".join(f"{first}@=@{second}@=@\n" for first, second in plain)
    assert [tuple(row.values()) for row in records.columns(output, ("a", "b"), "@=@")] == plain


JOB = """JobId=1 JobName={name}
   UserId=ann(1000) GroupId=users(100) MCS_label=N/A
   JobState=PENDING Reason=None Dependency=(null)
   NumNodes=2-2 NumCPUs=2 NumTasks=2 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   Command=/home/ann/my job.sh --lr=3
   WorkDir=/home/ann
   Comment={comment}
   StdOut=/home/ann/a=b c.out
   Power=
"""


def test_words_of_people_stay_in_their_field() -> None:
    [fields] = records.job_records(JOB.format(name="a b=c UserId=root(0)", comment="x JobState=RUNNING"))
    assert fields["JobName"] == "a b=c UserId=root(0)"
    assert (fields["UserId"], fields["JobState"]) == ("ann(1000)", "PENDING")
    assert fields["Comment"] == "x JobState=RUNNING"
    assert (fields["Command"], fields["StdOut"]) == ("/home/ann/my job.sh --lr=3", "/home/ann/a=b c.out")
    assert (fields["CPUs/Task"], fields["ReqB:S:C:T"], fields["Power"]) == ("1", "0:0:*:*", "")


@pytest.mark.parametrize(
    "forged",
    [
        "two\nlines",
        "x\n   UserId=root(0) GroupId=root(0)",
        "x\n\nJobId=2 JobName=y",
        "x\n   UserId=root(0)\n   JobState=RUNNING\n\nJobId=2 JobName=y",
        "x\n\nJobId=1 JobName=y",
    ],
)
@pytest.mark.parametrize("where", ["name", "comment"])
def test_a_forged_record_is_noticed(forged: str, where: str) -> None:
    words = {"name": "n", "comment": "c"} | {where: forged}
    with pytest.raises(records.Ambiguous):
        records.job_records(JOB.format(**words))


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader_of_jobs(text: str) -> None:
    """It is read, or it is refused as ambiguous; no owner is ever another."""
    try:
        found = records.job_records(JOB.format(name=text, comment=text))
    except records.Ambiguous:
        return
    assert [record["UserId"] for record in found] == ["ann(1000)"]


def test_job_ids() -> None:
    def read(**fields: str) -> str:
        return jobs.scontrol_job({"JobId": "7", **fields}).id

    assert read() == "7"
    assert read(ArrayJobId="5", ArrayTaskId="0") == "5_0"
    assert read(ArrayJobId="5", ArrayTaskId="2-9%3") == "5_[2-9%3]"
    assert read(HetJobId="6", HetJobOffset="1") == "6+1"


def test_the_file_of_an_array_that_waits_has_no_task_yet() -> None:
    job = jobs.scontrol_job({"JobId": "5", "StdOut": "/home/ann/slurm-5_4294967294.out"})
    assert job.stdout == "/home/ann/slurm-5_%a.out"


def test_newer_slurm_says_resources_twice() -> None:
    """From 23.02 on there are ReqTRES and AllocTRES in place of TRES, and gres/gpu in place of gres:gpu."""
    fields = {
        "JobId": "1", "NumNodes": "2", "ReqTRES": "cpu=2,mem=20G,node=2,gres/gpu:h100=16", "AllocTRES": "(null)",
        "TresPerNode": "gres/gpu:h100:8",
    }  # fmt: skip
    job = jobs.scontrol_job(fields)
    assert (job.gpus, job.gpu_type, job.mem_mb) == (16, "h100", 10240)


def test_a_nodes_reason_has_three_parts() -> None:
    def read(reason: str) -> tuple[object, ...]:
        node = nodes.node({"NodeName": "n1", "State": "DOWN*+DRAIN", "Reason": reason})
        assert node.state == "DOWN+NOT_RESPONDING+DRAIN"
        return node.reason, node.reason_user, node.reason_time

    assert read("Xid 79 [GPU 3] [root@2026-11-21T04:50:22]") == (
        "Xid 79 [GPU 3]", "root", datetime(2026, 11, 21, 4, 50, 22),
    )  # fmt: skip
    assert read("Not responding") == ("Not responding", "", None)
    assert read("(null)") == ("", "", None)


def test_host_lists() -> None:
    assert expand("gpu-node[01-03,07]") == ["gpu-node01", "gpu-node02", "gpu-node03", "gpu-node07"]
    assert expand("a[1-2]b[3-4]") == ["a1b3", "a1b4", "a2b3", "a2b4"]
    assert expand("") == []
    assert fold(["n03", "n01", "n02"]) == "n[01-03]"
    for bad in ("@all", "a!b", "a&b", "a^b", "-n", "a b", "n[1-", "n[x]", "*"):
        with pytest.raises(InvalidRequest, match="host list"):
            expand(bad)


@given(st.sets(st.integers(1, 400), min_size=1))
def test_folding_and_expanding_are_inverse(numbers: set[int]) -> None:
    names = [f"gpu-node{number:03d}" for number in sorted(numbers)]
    assert expand(fold(names)) == names
