"""The closed set of questions and replies for models that choose but cannot write; code has the words."""

from __future__ import annotations

ASK = {
    "which_job": 'Which job? Give its id (`sask "my jobs"` lists yours).',
    "what_to_run": "What should the job run? Give a command or a batch script.",
    "which_node": "Which node? Give its name, or a host list such as gpu-node[01-04].",
    "what_value": "Change what, and to which value?",
    "which_user": "Which user? Give the user name.",
    "be_specific": "I am not sure what you want done. Say it once more with the job, node or resource it is about.",
}

REPLY = {
    "greeting": 'Hello. I submit, inspect, resize, diagnose and cancel Slurm jobs: try "what is running?", '
    '"submit train.sh on 2 h100" or "why is 123 pending?"; `sask tools` lists all I can do.',
    "out_of_scope": "That is outside what I do: I work with this cluster's Slurm jobs, nodes and accounting only.",
    "not_supported": "No tool of mine does that. Ask your site's administrators; `sask tools` lists what I can do.",
    "knowledge": "I answer from the live state of this cluster and do not explain concepts. "
    "`man sbatch`, `man squeue` and slurm.schedmd.com do; ask me about a job, a node or a limit.",
    "refused": "I will not do that: nobody acts here with more rights than Slurm gives them.",
}


def words_of(kind: dict[str, str], key: str) -> str:
    """The words for a key; a text that is no key is a model's own prose and stays as it is."""
    return kind.get(key, key)
