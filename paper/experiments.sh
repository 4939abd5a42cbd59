#!/bin/sh
# The runs on CIFAR-10 behind the evidence, most telling first. Called again it goes on where it stopped.
# On one core a run of ResNet-8 takes about 5 minutes and one of ResNet-20 about 16; JOBS run at once (default 2).
#
# How long a gate that nobody needs takes from θ = 0.9 to 0 limits how early a certificate can be: 0.9/(gate_lr · κ)
# steps, with κ = ν(1 − α)/units for units and να/layers for layers, of equal sizes. That is half a window of the tracker
# (layers) to four of them here: slower gates would not settle in six epochs. Where only layers are pruned (α = 1), κ is
# some 30 times larger, and the gates' learning rate a tenth.
#
#     sh paper/experiments.sh            writes runs/NETWORK-nuN-alphaA/MODE-SEED/
#     sh paper/experiments.sh plan       lists the runs with their settings
set -e
quick="--preset cifar10-quick --no-ungated --precision bf16 --threads 1"
resnet8="$quick --network resnet8 --epochs 6 --hold 390 --tracker.warmup 400"
settings="0.5:0 0.5:0.5 0.8:0.5 0.5:1 0.3:0 0.8:0 0.3:0.5 0.3:1 0.8:1" # ν:α

compiled() { # MODE: in prune mode every removal would compile the network again
    [ "$1" = prune ] || echo " --compile"
}

grid() { # SEED MODE [NAME MORE…]: ResNet-8 at every setting
    seed=$1 mode=$2 name=${3:-$2}
    shift $(($# > 3 ? 3 : $#))
    for setting in $settings; do
        nu=${setting%:*} alpha=${setting#*:} rate=0.5
        [ "$alpha" = 1 ] && rate=0.05
        echo "resnet8-nu$nu-alpha$alpha/$name-$seed $resnet8 --nu $nu --alpha $alpha --gate-lr $rate" \
            "--mode $mode --seed $seed$(compiled $mode) $*"
    done
}

threshold() { # SEED LEVEL: prune by a plain threshold, where only units are
    grid "$1" prune "threshold$2" "--prune.rule \"θ < $2\"" | grep -e "-alpha0/"
}

deep() { # NU SEED MODE: ResNet-20
    echo "resnet20-nu$1-alpha0.2/$3-$2 $quick --nu $1 --alpha 0.2 --mode $3 --seed $2$(compiled $3)"
}

order() {
    grid 0 shadow
    grid 0 prune
    threshold 0 0.8
    deep 1 0 shadow
    deep 1 0 prune
    grid 1 shadow
    deep 1 1 shadow
    threshold 0 0.5
    grid 1 prune
    deep 0.5 0 shadow
    deep 2 0 shadow
    deep 1 2 shadow
    grid 2 shadow
    grid 2 prune
    threshold 1 0.8
    threshold 1 0.5
}

# xargs takes a blank at the end of a line for "goes on in the next".
plan() { order | sed 's/ *$//'; }

if [ "$1" = plan ]; then plan; else plan | xargs -P "${JOBS:-2}" -L 1 sh paper/run.sh; fi
