#!/bin/bash
#SBATCH --job-name=yolab
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120

# sbatch slurm.sh, from a folder that all nodes share, with yolab installed, and AWS_… in the environment
set -uo pipefail

files=$PWD/yolab-$SLURM_JOB_ID
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
named=$(scontrol show node "$first" | grep --only-matching 'NodeAddr=[^ ]*' | cut -d = -f 2)
address=$(getent ahostsv4 "$named" | awk '$1 !~ /^127[.]/ {print $1; exit}')  # a machine's own name may mean loopback
address=${address:-$(hostname -I | awk '{print $1}')}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$files.token RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export YOLAB_STORAGE=s3://lab/runs MLFLOW_TRACKING_URI=http://mlflow.example.org:5000
head=$address:$((20000 + SLURM_JOB_ID % 10000))
(umask 077 && python -c "import secrets; print(secrets.token_hex(32))" > "$RAY_AUTH_TOKEN_PATH")

# told that the time is nearly over, the command saves its state, and the job waits for its next turn
trap 'again=yes; kill -TERM "$(cat "$files.pid" 2> /dev/null || echo $!)"' TERM
srun --kill-on-bad-exit=0 ray symmetric-run --address "$head" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus 4 --resources '{"trial": 1000}' \
    -- bash -c 'echo $$ > "$0.pid"; export RAY_ADDRESS=$1; exec "${@:2}"' "$files" "$head" \
    yolab train coco data.path=s3://lab/coco compute.workers=4 compute.gpus_per_worker=1 --restartable &
wait $!; code=$?
while kill -0 $! 2> /dev/null; do wait $!; code=$?; done  # a signal ends a wait
rm -f "$files.token" "$files.pid"
[ -z "${again:-}" ] || exec scontrol requeue "$SLURM_JOB_ID"
exit "$code"
