//! A queue of tasks, worked on by several threads and handed over in order.
//!
//! Three steps: `next` makes tasks, one at a time; `work` does them, on as many threads as there are; `take` is given
//! what came out, one at a time and in the order of the tasks. There is no thread for a step: each of the threads, the
//! calling one included, does whatever can be done next. So all of them are busy while there is something to do, one
//! thread runs the steps in turn without any overhead, and no thread more than asked for is used.
//!
//! Invariants: what `take` sees does not depend on the number of threads. At most a few tasks for each thread are
//! between `next` and `take`, so memory is bounded. An error comes at its place in the order: all tasks before it were
//! taken, none behind it is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use cli::interrupt;

/// Tasks on their way for each thread, the one that it works on included.
const AHEAD: usize = 3;

/// Runs the tasks until `next` has no more, `take` breaks, or one of the three fails.
///
/// `worker` is called once on each thread and gives what does the work there.
pub fn run<Task, Out, Work>(
    threads: usize,
    next: impl FnMut() -> anyhow::Result<Option<Task>> + Send,
    worker: impl Fn() -> Work + Sync,
    take: impl FnMut(Out) -> anyhow::Result<ControlFlow<()>> + Send,
) -> anyhow::Result<()>
where
    Task: Send,
    Out: Send,
    Work: FnMut(Task) -> anyhow::Result<Out>,
{
    let queue = Queue {
        threads: threads.max(1),
        next: Mutex::new(next),
        take: Mutex::new(take),
        state: Mutex::new(State {
            begun: 0,
            taken: 0,
            waiting: BTreeMap::new(),
            is_taking: false,
            is_over: false,
            outcome: Ok(()),
        }),
        moved: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 1..queue.threads {
            scope.spawn(|| queue.help(worker()));
        }
        queue.help(worker());
    });
    queue.state.into_inner().expect("a thread that panics ends the whole run").outcome
}

struct Queue<Next, Take, Out> {
    threads: usize,
    next: Mutex<Next>,
    take: Mutex<Take>,
    state: Mutex<State<Out>>,
    /// Something was taken, or it is all over.
    moved: Condvar,
}

struct State<Out> {
    /// Tasks that `next` has given.
    begun: usize,
    /// Tasks that `take` has seen.
    taken: usize,
    /// What came out of tasks whose turn has not come.
    waiting: BTreeMap<usize, anyhow::Result<Out>>,
    /// Whether a thread is in `take`.
    is_taking: bool,
    /// No task is begun any more.
    is_over: bool,
    outcome: anyhow::Result<()>,
}

impl<Next, Take, Out> Queue<Next, Take, Out> {
    /// Does what can be done next, until nothing is left for this thread.
    fn help<Task>(&self, mut work: impl FnMut(Task) -> anyhow::Result<Out>)
    where
        Next: FnMut() -> anyhow::Result<Option<Task>>,
        Take: FnMut(Out) -> anyhow::Result<ControlFlow<()>>,
    {
        let alarm = Alarm(self);
        while let Some((number, task)) = self.begin() {
            let out = task.and_then(&mut work);
            self.state().waiting.insert(number, out);
            self.take_all_that_is_due();
        }
        drop(alarm);
    }

    /// The next task and its number; a failure to make one has a number, too.
    fn begin<Task>(&self) -> Option<(usize, anyhow::Result<Task>)>
    where
        Next: FnMut() -> anyhow::Result<Option<Task>>,
    {
        let mut next = self.next.lock().expect("a thread that panics ends the whole run");
        let mut state = self.state();
        while !state.is_over && state.begun - state.taken >= self.threads * AHEAD {
            state = self.moved.wait(state).expect("a thread that panics ends the whole run");
        }
        if state.is_over {
            return None;
        }
        drop(state);
        let task = interrupt::check().map_err(anyhow::Error::from).and_then(|()| next());
        let mut state = self.state();
        let number = state.begun;
        match task {
            Ok(None) => {
                state.is_over = true;
                None
            }
            Ok(Some(task)) => {
                state.begun += 1;
                Some((number, Ok(task)))
            }
            Err(error) => {
                state.begun += 1;
                state.is_over = true;
                Some((number, Err(error)))
            }
        }
    }

    /// Hands over what is due, unless another thread is at it: that one will see what has come meanwhile.
    fn take_all_that_is_due(&self)
    where
        Take: FnMut(Out) -> anyhow::Result<ControlFlow<()>>,
    {
        let mut state = self.state();
        if state.is_taking {
            return;
        }
        loop {
            let due = state.taken;
            let Some(out) = state.waiting.remove(&due) else { break };
            state.is_taking = true;
            drop(state);
            let outcome = out.and_then(|out| {
                let mut take = self.take.lock().expect("a thread that panics ends the whole run");
                take(out)
            });
            state = self.state();
            state.taken += 1;
            match outcome {
                Ok(ControlFlow::Continue(())) => state.is_taking = false,
                // Nobody takes anything from now on.
                Ok(ControlFlow::Break(())) => state.is_over = true,
                Err(error) => {
                    state.is_over = true;
                    state.outcome = Err(error);
                }
            }
            self.moved.notify_all();
            if state.is_taking {
                break;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Out>> {
        self.state.lock().expect("a thread that panics ends the whole run")
    }
}

/// Tells of a panic, so that nobody waits for a task that is never taken.
struct Alarm<'q, Next, Take, Out>(&'q Queue<Next, Take, Out>);

impl<Next, Take, Out> Drop for Alarm<'_, Next, Take, Out> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut state) = self.0.state.lock()
        {
            state.is_over = true;
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    /// The tasks 0, 1, ... below `n`, each slower than the ones behind it.
    fn check(threads: usize, n: u64, stop_at: Option<u64>, fail_at: Option<u64>, expected: &[u64]) {
        let mut tasks = 0..n;
        let mut taken = Vec::new();
        let outcome = run(
            threads,
            || Ok(tasks.next()),
            || {
                |task| {
                    thread::sleep(Duration::from_micros(200 * (n - task) % 7));
                    if Some(task) == fail_at {
                        bail!("task {task}");
                    }
                    Ok(task * task)
                }
            },
            |out| {
                taken.push(out);
                let stop = stop_at.is_some_and(|at| out == at * at);
                Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        );
        assert_eq!(outcome.is_err(), fail_at.is_some());
        assert_eq!(taken, expected, "on {threads} threads");
    }

    #[test]
    fn all_is_taken_in_order_whatever_the_number_of_threads() {
        for threads in [1, 2, 7] {
            check(threads, 0, None, None, &[]);
            let squares: Vec<_> = (0..50).map(|i| i * i).collect();
            check(threads, 50, None, None, &squares);
            check(threads, 50, Some(20), None, &squares[..21]);
            check(threads, 50, None, Some(30), &squares[..30]);
        }
    }

    #[test]
    fn a_failure_to_make_a_task_comes_behind_the_tasks_before_it() {
        for threads in [1, 3] {
            let (mut made, mut taken) = (0, 0);
            let outcome = run(
                threads,
                || {
                    made += 1;
                    if made == 10 { bail!("the tenth") } else { Ok(Some(made)) }
                },
                || Ok,
                |_| {
                    taken += 1;
                    Ok(ControlFlow::Continue(()))
                },
            );
            assert_eq!(outcome.unwrap_err().to_string(), "the tenth");
            assert_eq!(taken, 9);
        }
    }
}
