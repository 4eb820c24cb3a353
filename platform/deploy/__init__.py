"""Files that start a cluster for yolab: on Kubernetes, under Slurm, on AWS and on machines of one's own. All are made
from one description of it: `make deploy` after a change of lab.yaml."""
