"""The faults that mxsense promises to survive, by number; a test that injects one says so with @fault(number)."""

FAULTS = {
    1: "a rank is killed at a random time: the job ends, and its resumed run ends with the same bits",
    2: "a rank is killed inside a step of the checkpoint protocol: a verified checkpoint is there",
    3: "the launcher and all ranks are killed at once: as 1",
    4: "SIGUSR1 at a random time: one verified checkpoint, exit code 75 on all ranks",
    5: "SIGTERM through mpirun: the new checkpoint or the one before, never none",
    6: "the time limit of the scheduler: stops before it with a checkpoint, exit code 75, and a chain of jobs finishes",
    7: "preemption and requeue: the same job resumes and appends to its log",
    8: "a full disk while a checkpoint is written: noticed, the one before is kept, no false success",
    9: "a full disk under metrics and log: the run ends with exit code 74, or goes on",
    10: "a quota or a file-size limit: as 8",
    11: "a run directory that cannot be written, or is none: exit code 73 or 77 before any work",
    12: "a checkpoint cut short: the one before is used, with a warning; none is good: exit code 74",
    13: "flipped bits, zeroed sectors, swapped halves in a checkpoint: never used silently",
    14: "a hostile HDF5 file: an error message, never a crash of the job",
    15: "a checkpoint of other settings or data: refused, naming the first field that differs",
    16: "a checkpoint of an older or newer format: read, or refused with its version",
    17: "NaN or Inf in A, y or the start: exit code 65 with its place",
    18: "divergence: seen in the iteration where it happens, exit code 76, the last good checkpoint kept",
    19: "shapes and types that do not fit: exit code 65 with both sizes",
    20: "sizes beyond 64 bits, or counts beyond those of MPI: refused, or moved in pieces",
    21: "no memory: one message, no rank waits for another",
    22: "another number of ranks on resume: the same bits",
    23: "more ranks than measurements: the same result",
    24: "more ranks or threads than cores: a warning, the same result",
    25: "a clock that jumps: no negative times, no early end",
    26: "two jobs in one directory: the second waits, and is refused with the name of the first; a dead owner is proven dead",
    27: "a stalled former owner of a directory: it notices before it publishes anything",
    28: "factors of one rank corrupted in memory: noticed, rolled back or exit code 70, never a result",
    29: "A corrupted in the file or in memory: noticed, never a result",
    30: "a rank that stalls: named, and the run goes on when it does",
    31: "standard output or error closed: the run goes on, its exit code is its own",
    32: "ranks started with other settings, builds or data: refused, exit code 69",
    33: "killed in the final checkpoint or at the very end: the same line finishes, or has nothing to do",
    34: "a file system without locks: works, with a note",
    35: "a locale with a decimal comma, odd paths: the same result",
}


def fault(*numbers):
    """Mark a test method or class with the faults that it injects."""
    unknown = [number for number in numbers if number not in FAULTS]
    if unknown:
        raise ValueError(f"no such fault: {unknown}")

    def mark(test):
        test.faults = numbers
        return test

    return mark
