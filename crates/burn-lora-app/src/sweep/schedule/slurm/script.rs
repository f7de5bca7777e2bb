//! What a task of the array runs.

use crate::sweep::SweepError;
use crate::sweep::schedule::{RETRIES, unwritable};

/// The script of an array of `count` shards. `words` are the command of a shard, which `i/n` is appended to, and `here` the
/// directory that it runs in. The same arguments make the same bytes, and nothing of the environment stands in it.
///
/// SLURM requeues a task whose node is lost or that is preempted. It does not where the shard alone was killed, for want of
/// memory or by somebody, so the script asks for that, a few times. A shard that SLURM ends (a limit of time, `scancel`) is told
/// by SIGTERM first, and leaves a checkpoint. USR1 to the batch script alone means that time runs out
/// (`--signal=B:USR1@120`): the shard is stopped with a checkpoint, and requeued.
pub(super) fn script(words: &[&str], here: &str, count: usize) -> Result<String, SweepError> {
    let quoted = |word: &str| {
        shlex::try_quote(word).map(|word| word.into_owned()).map_err(|_| unwritable(word))
    };
    let command = words.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?.join(" ");
    let (here, last) = (quoted(here)?, count.saturating_sub(1));
    Ok(format!(
        r#"#!/bin/sh
#SBATCH --job-name=burn-lora-sweep
#SBATCH --requeue
#SBATCH --open-mode=append
# Task i of this array (0-{last}) is the share i/{count} of a sweep's points. Started again, it goes on from its checkpoint.
cd -- {here} || exit 1
# Where SLURM binds no task to its CPUs, threads would be as many as the node has.
export RAYON_NUM_THREADS="${{RAYON_NUM_THREADS:-${{SLURM_CPUS_ON_NODE:-}}}}"
caught= ending= warned=
# SIGTERM comes to all processes of a task; a second one would end the run without a checkpoint.
trap 'caught=1 ending=1' TERM
trap 'caught=1 warned=1; kill -TERM "$!"' USR1
(trap '' USR1; exec {command} "$SLURM_ARRAY_TASK_ID/{count}") &
wait "$!"
status=$?
# A signal ends the wait, and not what is waited for.
while [ -n "$caught" ]; do
    caught=
    wait "$!"
    again=$?
    [ "$again" -eq 127 ] || status=$again
done
again=
[ -n "$warned" ] && [ "$status" -eq 75 ] && again=1
[ "$status" -gt 128 ] && [ -z "$ending" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {RETRIES} ] && again=1
[ -n "$again" ] && scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
exit "$status"
"#
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Runs the script with a shell, as task 2 of an array, with these commands first in PATH; the exit status and what the
    /// commands wrote into `told`.
    #[cfg(unix)]
    fn ran(shard: &str, restarts: &str) -> (Option<i32>, String) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(dir.path()).unwrap().join("it's here");
        fs::create_dir(&at).unwrap();
        let program = |name: &str, body: &str| {
            let path = at.join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        program("scontrol", r#"echo "scontrol $*" >> told"#);
        let shard = program("shard", &format!("pwd >> told; echo \"$@\" >> told; {shard}"));
        let words = [&*shard, "a b", "$HOME", "--set=x='y'"];
        let text = script(&words, at.to_str().unwrap(), 5).unwrap();
        fs::write(at.join("job.sh"), text).unwrap();
        let path = format!("{}:{}", at.display(), std::env::var("PATH").unwrap());
        let mut sh = Command::new("sh");
        sh.arg(at.join("job.sh")).env("PATH", path);
        sh.envs([("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "2")]);
        sh.env("SLURM_RESTART_COUNT", restarts);
        let status = sh.status().unwrap().code();
        let told = fs::read_to_string(at.join("told")).unwrap();
        (status, told.replace(&at.display().to_string(), "HERE"))
    }

    #[cfg(unix)]
    #[test]
    fn a_task_runs_its_shard_where_the_sweep_was_submitted_with_the_words_as_they_are() {
        let (status, told) = ran("exit 3", "0");
        assert_eq!((status, &*told), (Some(3), "HERE\na b $HOME --set=x='y' 2/5\n"));
    }

    #[cfg(unix)]
    #[test]
    fn a_shard_that_is_killed_is_requeued_a_few_times_and_one_that_fails_is_not() {
        let requeues = |shard: &str, restarts: &str| {
            let (status, told) = ran(shard, restarts);
            (status, told.contains("scontrol requeue 7_2\n"))
        };
        assert_eq!(requeues("kill -KILL $$", "0"), (Some(137), true));
        assert_eq!(requeues("kill -KILL $$", "2"), (Some(137), true));
        assert_eq!(requeues("kill -KILL $$", "3"), (Some(137), false));
        assert_eq!(requeues("exit 1", "0"), (Some(1), false));
        assert_eq!(requeues("exit 75", "0"), (Some(75), false));
        assert_eq!(requeues("exit 0", "0"), (Some(0), false));
    }

    /// The parent of a shard is the script.
    #[cfg(unix)]
    #[test]
    fn a_script_that_is_warned_stops_its_shard_and_is_requeued_and_one_that_is_ended_is_not() {
        let stops = "trap 'kill $!; exit 75' TERM; sleep 60 & kill -USR1 $PPID; wait";
        let (status, told) = ran(stops, "9");
        assert_eq!(status, Some(75));
        assert!(told.contains("scontrol requeue 7_2\n"), "{told}");
        let (status, told) = ran("kill -TERM $PPID; exit 75", "0");
        assert_eq!(status, Some(75));
        assert!(!told.contains("scontrol"), "{told}");
        let (status, told) = ran("kill -TERM $PPID; kill -KILL $$", "0");
        assert_eq!(status, Some(137));
        assert!(!told.contains("scontrol"), "{told}");
    }

    #[test]
    fn the_same_sweep_has_the_same_script_and_a_zero_byte_cannot_stand_in_it() {
        let made = || script(&["/bin/burn-lora", "sweep"], "/data", 3).unwrap();
        assert_eq!(made(), made());
        assert!(made().contains("(0-2)"));
        assert!(matches!(script(&["a\0b"], "/data", 3), Err(SweepError::Word { .. })));
    }
}
