//! Collective operations over real processes: what they compute, what they refuse, and how they end when a rank is gone.

mod ranks;

use std::rc::Rc;
use std::time::Duration;

use ranks::{Place, TIMEOUT};
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, ReduceOp, Transcript};

const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Int64];

fn join(place: &Place) -> (ProcessGroup, Rc<Transcript>) {
    let transcript = Rc::new(Transcript::default());
    transcript.keep();
    let Place { rank, size, store } = place;
    let group = ProcessGroup::gloo(store, "world", *rank, *size, TIMEOUT, &transcript);
    (group.expect("all ranks come"), transcript)
}

fn numbers(values: &[i64], kind: Kind) -> Tensor {
    Tensor::from_slice(values).to_kind(kind)
}

fn integer(number: usize) -> i64 {
    i64::try_from(number).expect("small")
}

#[track_caller]
fn check(found: torch_ext::Result<torch_ext::Work>, expected: &[i64]) {
    let found = found.expect("started").wait().expect("done").to_kind(Kind::Int64);
    assert_eq!(Vec::<i64>::try_from(&found).expect("a vector"), expected);
}

#[test]
fn every_operation_gives_what_its_definition_says_for_every_kind() {
    ranks::run(3, |place| {
        let (group, transcript) = join(&place);
        let rank = integer(place.rank);
        for kind in KINDS {
            let ours = || numbers(&[rank, 10 * rank, 7], kind);
            check(group.all_reduce(ours(), ReduceOp::Sum), &[3, 30, 21]);
            check(group.all_reduce(ours(), ReduceOp::Max), &[2, 20, 7]);
            let part = || Tensor::zeros([1], (kind, Device::Cpu));
            check(group.reduce_scatter(part(), ours(), ReduceOp::Sum), &[[3, 30, 21][place.rank]]);
            let whole = || Tensor::zeros([6], (kind, Device::Cpu));
            check(group.all_gather(whole(), numbers(&[rank, -rank], kind)), &[0, 0, 1, -1, 2, -2]);
            check(group.broadcast(ours(), 1), &[1, 10, 7]);
            let exchanged = [100, 101, 102].map(|it| it + 10 * rank);
            check(
                group.all_to_all(whole().narrow(0, 0, 3), numbers(&exchanged, kind)),
                &[100 + rank, 110 + rank, 120 + rank],
            );
            // Each sends to the next and receives from the one before.
            let [next, before] = [1, 2].map(|step| (place.rank + step) % 3);
            let received = group.recv(part(), before).expect("started");
            let _ =
                group.send(numbers(&[rank], kind), next).expect("started").wait().expect("sent");
            check(Ok(received), &[integer(before)]);
        }
        group.barrier().expect("all ranks come");
        let entries = transcript.take();
        assert_eq!(entries.len(), 4 * 8 + 1);
        // Four bytes a number; two thirds of the whole in each of the ring's two rounds.
        assert_eq!(
            (entries[0].operation, entries[0].numel, entries[0].bytes),
            ("all_reduce", 3, 16)
        );
        assert_eq!(
            (entries[3].operation, entries[3].numel, entries[3].bytes),
            ("all_gather", 6, 16)
        );
    });
}

#[test]
fn what_is_needed_next_comes_without_work_to_wait_for() {
    ranks::run(2, |place| {
        let (group, transcript) = join(&place);
        let rank = integer(place.rank);
        let now = |found: torch_ext::Result<Tensor>, expected: [i64; 2]| {
            let found = Vec::<i64>::try_from(&found.expect("done")).expect("a vector");
            assert_eq!(found, expected);
        };
        let ours = || numbers(&[rank, 10 + rank], Kind::Int64);
        let room = || Tensor::zeros([2], (Kind::Int64, Device::Cpu));
        now(group.all_reduce_now(ours(), ReduceOp::Sum), [1, 21]);
        now(group.all_gather_now(room(), numbers(&[rank], Kind::Int64)), [0, 1]);
        now(group.all_to_all_now(room(), ours()), [10 * rank, 10 * rank + 1]);
        let operations = transcript.take().into_iter().map(|entry| entry.operation);
        assert_eq!(operations.collect::<Vec<_>>(), ["all_reduce", "all_gather", "all_to_all"]);
        // Nothing holds on to the memory.
        let tensor = ours();
        now(group.all_reduce_now(tensor.shallow_clone(), ReduceOp::Sum), [1, 21]);
        now(group.all_reduce_now(tensor, ReduceOp::Max), [1, 21]);
    });
}

#[test]
fn all_ranks_write_the_same_transcript() {
    ranks::run(2, |place| {
        let (group, transcript) = join(&place);
        let sums = [4, 1, 9].map(|n| {
            let ones = Tensor::ones([n], (Kind::Float, Device::Cpu));
            group.all_reduce(ones, ReduceOp::Sum).expect("started")
        });
        for (sum, n) in sums.into_iter().zip([4.0, 1.0, 9.0]) {
            let sum = sum.wait().expect("done").sum(Kind::Float);
            assert_eq!(sum.double_value(&[]), 2.0 * n);
        }
        let key = |rank: usize| format!("digest of {rank}");
        let digest = transcript.digest().to_string();
        place.store.set(&key(place.rank), digest.as_bytes()).expect("stored");
        let other = place.store.get(&key(1 - place.rank)).expect("the other's");
        assert_eq!(other, digest.as_bytes());
        assert_eq!(transcript.bytes(), 4 * (4 + 1 + 9));
        group.barrier().expect("all ranks come");
        assert_ne!(transcript.digest().to_string(), digest);
    });
}

#[test]
fn subgroups_work_beside_the_world() {
    ranks::run(4, |place| {
        let (world, transcript) = join(&place);
        let (pair, at) = (place.rank / 2, place.rank % 2);
        let name = format!("pair {pair}");
        let pair = ProcessGroup::gloo(&place.store, &name, at, 2, TIMEOUT, &transcript);
        let pair = pair.expect("both come");
        let rank = integer(place.rank);
        check(
            pair.all_reduce(numbers(&[rank], Kind::Int64), ReduceOp::Sum),
            &[[1, 5][place.rank / 2]],
        );
        check(world.all_reduce(numbers(&[rank], Kind::Int64), ReduceOp::Sum), &[6]);
    });
}

#[track_caller]
fn refused(result: torch_ext::Result<torch_ext::Work>, expected: &str) {
    assert_eq!(result.expect_err(expected).to_string(), expected);
}

#[test]
fn what_cannot_be_right_is_refused_before_it_is_started() {
    ranks::run(2, |place| {
        let (group, transcript) = join(&place);
        let ones = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        let turned = ones(&[2, 3]).transpose(0, 1);
        refused(
            group.all_reduce(turned, ReduceOp::Sum),
            "all_reduce: the tensor is not contiguous",
        );
        refused(group.all_reduce(ones(&[0]), ReduceOp::Sum), "all_reduce: the tensor is empty");
        refused(
            group.all_reduce(ones(&[1]).to_kind(Kind::Half), ReduceOp::Sum),
            "all_reduce: Half is not carried between ranks",
        );
        refused(
            group.all_gather(ones(&[3]), ones(&[2])),
            "all_gather: 2 ranks with 2 numbers each do not make 3",
        );
        refused(
            group.reduce_scatter(ones(&[2]), ones(&[4]).to_kind(Kind::Double), ReduceOp::Sum),
            "reduce_scatter: Float from Double",
        );
        refused(group.broadcast(ones(&[1]), 2), "broadcast: no rank 2 in a group of 2");
        refused(
            group.send(ones(&[1]), place.rank),
            &format!("send: rank {} is this one", place.rank),
        );
        assert!(transcript.take().is_empty(), "nothing was started");
    });
}

#[test]
fn memory_that_an_operation_uses_is_not_given_to_another() {
    ranks::run(2, |place| {
        let (group, _) = join(&place);
        let ones = Tensor::ones([8], (Kind::Float, Device::Cpu));
        let first = group.all_reduce(ones.narrow(0, 0, 4), ReduceOp::Sum).expect("started");
        refused(
            group.all_reduce(ones.narrow(0, 3, 2), ReduceOp::Sum),
            "all_reduce: the memory is in use by `all_reduce`, which was not waited for",
        );
        let beside = group.all_reduce(ones.narrow(0, 4, 4), ReduceOp::Sum).expect("it is beside");
        let _ = (first.wait().expect("done"), beside.wait().expect("done"));
        let again =
            group.all_reduce(ones.shallow_clone(), ReduceOp::Sum).expect("it is free again");
        assert_eq!(again.wait().expect("done").sum(Kind::Float).double_value(&[]), 32.0);
        // In place: rank r's part of the whole is what it gets.
        let whole = Tensor::ones([4], (Kind::Float, Device::Cpu));
        let part = whole.narrow(0, 2 * integer(place.rank), 2);
        let part = group.reduce_scatter(part, whole.shallow_clone(), ReduceOp::Sum);
        let part = part.expect("its own part").wait().expect("done");
        let _ = group
            .all_gather(whole.shallow_clone(), part)
            .expect("its own part")
            .wait()
            .expect("done");
        assert_eq!(whole.sum(Kind::Float).double_value(&[]), 8.0);
    });
}

#[test]
#[cfg(debug_assertions)]
fn work_that_is_not_waited_for_is_a_panic() {
    ranks::run(2, |place| {
        let (group, _) = join(&place);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let ones = Tensor::ones([4], (Kind::Float, Device::Cpu));
            drop(group.all_reduce(ones, ReduceOp::Sum).expect("started"));
        }));
        let message = *dropped.expect_err("it panics").downcast::<String>().expect("a message");
        assert_eq!(message, "`all_reduce` was dropped and not waited for");
    });
}

#[test]
fn checked_calls_name_the_rank_that_does_something_else() {
    ranks::run(3, |place| {
        let (mut group, _) = join(&place);
        group.check_calls(&place.store).expect("all of them");
        let ones = |n: i64| Tensor::ones([n], (Kind::Float, Device::Cpu));
        check(group.all_reduce(ones(2), ReduceOp::Sum), &[3, 3]);
        // Without the check, Gloo would end the process here.
        let n = if place.rank == 2 { 5 } else { 4 };
        let error = group.all_reduce(ones(n), ReduceOp::Sum).expect_err("they differ").to_string();
        let expected = match place.rank {
            2 => "rank 2 calls all_reduce of 5 Float, rank 0 all_reduce of 4 Float".to_owned(),
            rank => {
                format!("rank {rank} calls all_reduce of 4 Float, rank 2 all_reduce of 5 Float")
            }
        };
        assert_eq!(error, format!("call 1 in group `world`: {expected}"));
    });
}

#[test]
fn a_rank_that_is_gone_is_an_error_of_one_line_at_once_and_one_that_sleeps_after_the_timeout() {
    ranks::run(3, |place| {
        let short = Duration::from_secs(3);
        let transcript = Rc::new(Transcript::default());
        let Place { rank, size, store } = &place;
        let join = |name: &str, timeout| {
            ProcessGroup::gloo(store, name, *rank, *size, timeout, &transcript).expect("all come")
        };
        let (patient, hasty) = (join("patient", TIMEOUT), join("hasty", short));
        let sum = |group: &ProcessGroup| {
            let ones = Tensor::ones([4], (Kind::Float, Device::Cpu));
            group.all_reduce(ones, ReduceOp::Sum)?.wait()
        };
        if place.rank == 2 {
            // Longer than the timeout, and not longer than the others wait for the first sum.
            std::thread::sleep(2 * short);
            return;
        }
        let started = std::time::Instant::now();
        let error = sum(&hasty).expect_err("rank 2 does not come").to_string();
        assert!(
            started.elapsed() >= short && started.elapsed() < 2 * short,
            "{:?}",
            started.elapsed()
        );
        assert!(error.starts_with("all_reduce in group `hasty`: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let error = sum(&patient).expect_err("rank 2 is gone").to_string();
        assert!(started.elapsed() < TIMEOUT / 2, "{:?}", started.elapsed());
        assert!(error.starts_with("all_reduce in group `patient`: "), "{error}");
    });
}
