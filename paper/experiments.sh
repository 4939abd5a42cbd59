#!/bin/sh
# The runs on CIFAR-10 behind the evidence, most telling first. Called again it goes on where it stopped.
# On one core a run of ResNet-8 takes about 7 minutes and one of ResNet-20 about 20; JOBS run at once (default 2).
#
#     sh paper/experiments.sh            writes runs/NETWORK-nuN-alphaA/seedS/, and the prune runs beside them
set -e
quick="--preset cifar10-quick --no-ungated --compile --threads 1"
resnet8="$quick --network resnet8 --epochs 6 --hold 390 --tracker.warmup 400"
settings="0.5:0.5 0.3:0.5 0.8:0.5 0.5:0 0.5:1 0.3:0 0.8:0 0.3:1 0.8:1" # ν:α

grid() { # SEED MODE: ResNet-8 at every setting
    for setting in $settings; do
        nu=${setting%:*} alpha=${setting#*:}
        echo "resnet8-nu$nu-alpha$alpha/$2$1 $resnet8 --nu $nu --alpha $alpha --mode $2 --seed $1"
    done
}

deep() { # NU SEED MODE: ResNet-20
    echo "resnet20-nu$1-alpha0.5/$3$2 $quick --nu $1 --alpha 0.5 --mode $3 --seed $2"
}

plan() {
    grid 0 shadow
    deep 0.5 0 shadow
    deep 0.5 1 shadow
    grid 1 shadow
    grid 0 prune
    deep 0.5 2 shadow
    deep 0.3 0 shadow
    deep 0.8 0 shadow
    grid 2 shadow
    deep 0.5 0 prune
    grid 1 prune
    grid 2 prune
}

plan | xargs -P "${JOBS:-2}" -L 1 sh paper/run.sh
