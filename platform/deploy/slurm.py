"""A job of Slurm, https://slurm.schedmd.com/sbatch.html: on each node Ray's symmetric run starts its part."""

import shlex

from pydantic import BaseModel, ConfigDict

from deploy.description import TRIAL, Lab

_NOTICE_SECONDS = 120  # before the time is over, or a job of more weight takes the nodes


class Sbatch(BaseModel):
    """The options of sbatch, underscores for dashes; True: one without a value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_name: str
    nodes: int
    ntasks_per_node: int = 1
    cpus_per_task: int
    gpus_per_node: int | None = None
    time: str
    exclusive: bool = True
    requeue: bool = True
    open_mode: str = "append"
    signal: str = f"B:TERM@{_NOTICE_SECONDS}"

    def lines(self) -> str:
        """Return the lines of a script that say them."""
        said = self.model_dump(exclude_none=True)
        options = {f"--{name.replace('_', '-')}": value for name, value in said.items()}
        return "".join(f"#SBATCH {name}{'' if value is True else f'={value}'}\n" for name, value in options.items())


def script(lab: Lab) -> str:
    """Return the script: it goes on where it was when it is begun again, because its time was over or a node lost."""
    asked = Sbatch(
        job_name=lab.name,
        nodes=lab.slurm.nodes,
        cpus_per_task=lab.slurm.cpus,
        gpus_per_node=lab.slurm.gpus or None,
        time=lab.slurm.time,
    )
    gpus = f" --num-gpus {lab.slurm.gpus}" if lab.slurm.gpus else ""
    variables = {name: value for name, value in lab.variables.items() if name != "XDG_CACHE_HOME"}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    trial = ", ".join(f'"{name}": {count}' for name, count in TRIAL.items())
    return f"""#!/bin/bash
{asked.lines()}
# sbatch slurm.sh, from a folder that all nodes share, with yolab installed, and AWS_… in the environment
set -uo pipefail

files=$PWD/{lab.name}-$SLURM_JOB_ID
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
named=$(scontrol show node "$first" | grep --only-matching 'NodeAddr=[^ ]*' | cut -d = -f 2)
address=$(getent ahostsv4 "$named" | awk '$1 !~ /^127[.]/ {{print $1; exit}}')  # a machine's own name may mean loopback
address=${{address:-$(hostname -I | awk '{{print $1}}')}}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$files.token RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export {exports}
head=$address:$((20000 + SLURM_JOB_ID % 10000))
(umask 077 && python -c "import secrets; print(secrets.token_hex(32))" > "$RAY_AUTH_TOKEN_PATH")

# told that the time is nearly over, the command saves its state, and the job waits for its next turn
trap 'again=yes; kill -TERM "$(cat "$files.pid" 2> /dev/null || echo $!)"' TERM
srun --kill-on-bad-exit=0 ray symmetric-run --address "$head" --min-nodes "$SLURM_JOB_NUM_NODES" \\
    --num-cpus "$SLURM_CPUS_PER_TASK"{gpus} --resources '{{{trial}}}' \\
    -- bash -c 'echo $$ > "$0.pid"; export RAY_ADDRESS=$1; exec "${{@:2}}"' "$files" "$head" \\
    {shlex.join(lab.command)} &
wait $!; code=$?
while kill -0 $! 2> /dev/null; do wait $!; code=$?; done  # a signal ends a wait
rm -f "$files.token" "$files.pid"
[ -z "${{again:-}}" ] || exec scontrol requeue "$SLURM_JOB_ID"
exit "$code"
"""
