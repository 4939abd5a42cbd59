#!/bin/sh
# The shadow runs behind the evidence on CIFAR-10: ResNet-8, three pressures, three mixtures, three seeds.
# About 12 minutes a run on one core; called again it goes on where it stopped. JOBS runs at once (default: cores).
#
#     sh paper/experiments.sh            writes runs/resnet8-nuN-alphaA/seedS/ and, at the end, paper/results/evidence.json
set -e
PYTHON=${PYTHON:-.venv/bin/python}
for nu in 0.5 0.25 1; do
    for alpha in 0.5 0 1; do
        "$PYTHON" -m training validate --preset cifar10-quick --network resnet8 --epochs 6 --hold 390 \
            --tracker.warmup 400 --nu $nu --alpha $alpha --no-ungated --seeds "${SEEDS:-3}" --jobs "${JOBS:-0}" \
            --out runs/resnet8-nu$nu-alpha$alpha
    done
done
"$PYTHON" -m training evidence runs/resnet8-nu*-alpha*/seed? --out paper/results/evidence.json
