"""Runs shards of a sweep as tasks of Ray: python3 submit.py TASKS.json

TASKS.json has the `command` of a shard, which its last word `i/n` is appended to, the directory `cwd` that it
runs in, the numbers of the `shards` and of how many (`of`), what a task needs (`cpus`, `gpus`), how often a
shard is run again (`retries`) and the directory of their `logs`. The cluster is the one that RAY_ADDRESS names,
else the one of this machine, else one that is started and ends with this process.

A shard that dies, alone or with its worker or node, is run again, and goes on from its checkpoint. When standard
input ends, a file in the directory of the logs tells the tasks to stop their shards, which leave a checkpoint. What happens is told in lines on standard output; the exit
status is 0 where all have ended, or one of those below.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import uuid

# What the sweep that started this tells apart.
NO_RAY, NO_CLUSTER, LOST, STOPPED = 3, 4, 5, 75


def run(tasks, index, stop):
    """Runs a shard, in a worker, until there is a file `stop`; returns its exit status, and raises where it died."""
    if os.path.exists(stop):
        return STOPPED
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    worker = os.getpid()

    def end_with_worker():
        # A shard that outlives its worker would keep its next try from the directory of its point.
        if prctl is not None:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != worker:
                os._exit(1)

    # As many threads as the task has CPUs: Ray counts them and keeps nobody from others.
    threads = str(max(1, int(tasks["cpus"])))
    environment = {"RAYON_NUM_THREADS": threads, **os.environ}
    with open(os.path.join(tasks["logs"], f"shard-{index}.log"), "ab") as log:
        child = subprocess.Popen(
            [*tasks["command"], f"{index}/{tasks['of']}"],
            cwd=tasks["cwd"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=end_with_worker,
        )
        told = False
        while child.poll() is None:
            try:
                child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                # Told once: a second signal would end it without a checkpoint.
                if not told and os.path.exists(stop):
                    told = True
                    child.terminate()
    if child.returncode < 0:
        raise RuntimeError(f"ended by {signal.Signals(-child.returncode).name}")
    if child.returncode == STOPPED and not told:
        raise RuntimeError("stopped before its end")
    return child.returncode


# What Ray prints goes beside it.
LINES, sys.stdout = sys.stdout, sys.stderr


def tell(line):
    print(line, file=LINES, flush=True)


def connect(ray):
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False)
        return
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        tell("no cluster of Ray is found here: one is started for this sweep, of this machine alone")
        ray.init(address="local", log_to_driver=False)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        tasks = json.load(file)
    try:
        import ray
    except ImportError as error:
        print(error, file=sys.stderr)
        return NO_RAY
    try:
        connect(ray)
    except Exception as error:
        print(error, file=sys.stderr)
        return NO_CLUSTER
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    # Tries are counted here, whatever ended them: Ray's own count is told to nobody.
    needs = {"num_cpus": tasks["cpus"], "num_gpus": tasks["gpus"], "max_retries": 0}
    task = ray.remote(run).options(**needs)
    stop_file = os.path.join(tasks["logs"], f"stop-{uuid.uuid4().hex}")
    running = {task.remote(tasks, index, stop_file): index for index in tasks["shards"]}
    deaths = dict.fromkeys(tasks["shards"], 0)
    lost = False
    while running and not stop.is_set():
        for ended in ray.wait(list(running), timeout=0.5)[0]:
            index = running.pop(ended)
            name = f"shard {index}/{tasks['of']}"
            try:
                status = ray.get(ended)
                tell(f"{name}: ended with {status}")
            except ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1].strip()
                deaths[index] += 1
                if deaths[index] <= tasks["retries"]:
                    tell(f"{name}: died, and is run again from its checkpoint: {why}")
                    running[task.remote(tasks, index, stop_file)] = index
                else:
                    tell(f"{name}: died {deaths[index]} times, and is left: {why}")
                    lost = True
    if not running:
        return LOST if lost else 0
    # A file, since ray.cancel (2.60) was not seen to reach a task that waits for a process.
    open(stop_file, "w", encoding="utf-8").close()
    ray.wait(list(running), num_returns=len(running))
    os.remove(stop_file)
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
