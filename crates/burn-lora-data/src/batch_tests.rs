use proptest::prelude::*;

use super::*;

#[test]
fn a_batch_is_padded_on_the_right_with_targets_by_flat_position() {
    let example = |ids: &[u32], targets: &[Option<u32>]| TokenExample {
        ids: ids.to_vec(),
        targets: targets.to_vec(),
    };
    let rows = [
        example(&[5, 6], &[Some(6), None]),
        example(&[7, 8, 9, 10], &[None, Some(9), Some(10), None]),
    ];
    let batch = TokenBatch::new(&rows, 99);
    assert_eq!(batch.ids, [5, 6, 99, 99, 7, 8, 9, 10]);
    assert_eq!((batch.rows, batch.width, &batch.lengths[..]), (2, 4, &[2, 4][..]));
    assert_eq!(batch.targets, [(0, 6), (5, 9), (6, 10)]);
    assert_eq!((batch.target_tokens(), batch.tokens()), (3, 6));
    assert_eq!((batch.is_packed(), &batch.segments[..]), (false, &[vec![2], vec![4]][..]));
    assert_eq!(batch.positions(), [0, 1, 2, 3, 0, 1, 2, 3]);

    let rows =
        [LabelExample { ids: vec![1], label: 3 }, LabelExample { ids: vec![2, 4], label: 0 }];
    let batch = LabelBatch::new(&rows, 0);
    assert_eq!((batch.ids, batch.labels), (vec![1, 0, 2, 4], vec![3, 0]));
    let empty = LabelBatch::new(&[], 0);
    assert_eq!((empty.rows, empty.width), (0, 0));
}

#[test]
fn a_packed_batch_knows_where_its_examples_begin() {
    let example = |ids: &[u32], targets: &[Option<u32>]| TokenExample {
        ids: ids.to_vec(),
        targets: targets.to_vec(),
    };
    // The target behind the last token of the first example is no business of the second's.
    let first = example(&[5, 6, 7], &[Some(6), Some(7), Some(8)]);
    let second = example(&[8, 9], &[Some(9), None]);
    let packs = [
        Packed { examples: vec![first.clone(), second.clone()] },
        Packed { examples: vec![second, example(&[4], &[None])] },
    ];
    let batch = TokenBatch::packed(&packs, 99);
    assert_eq!(batch.ids, [5, 6, 7, 8, 9, 8, 9, 4, 99, 99]);
    assert_eq!((batch.rows, batch.width, &batch.lengths[..]), (2, 5, &[5, 3][..]));
    assert_eq!(batch.segments, [vec![3, 2], vec![2, 1]]);
    assert_eq!(batch.targets, [(0, 6), (1, 7), (3, 9), (5, 9)]);
    assert_eq!(batch.positions(), [0, 1, 2, 0, 1, 0, 1, 0, 1, 2]);
    assert!(batch.is_packed());
    // A pack of one is the example.
    let alone = Packed { examples: vec![first.clone()] };
    assert_eq!(TokenBatch::packed([&alone], 0), TokenBatch::new([&first], 0));
}

#[test]
fn evaluation_goes_from_the_longest_row_to_the_shortest() {
    let sampler = Sampler::new(vec![3, 9, 1, 9, 4], 2, 1, 5, Order::ByLength);
    assert_eq!(sampler.epoch(0), [vec![1, 3], vec![4, 0], vec![2]]);
    assert_eq!(sampler.epoch(3), sampler.epoch(0));
}

#[test]
fn grouping_leaves_little_padding() {
    // Lengths 1 to 100, ten rows each, in an order that has nothing to do with length.
    let lengths: Vec<usize> = (0..1000).map(|row| 1 + row * 37 % 100).collect();
    let padding = |order| {
        let sampler = Sampler::new(lengths.clone(), 8, 1, 0, order);
        let of_batch = |rows: &Vec<usize>| {
            let widest = rows.iter().map(|row| lengths[*row]).max().unwrap();
            rows.iter().map(|row| widest - lengths[*row]).sum::<usize>()
        };
        sampler.epoch(0).iter().map(of_batch).sum::<usize>()
    };
    // A window of 400 rows has about four rows a length: a sorted batch spans two or three lengths.
    // Unsorted, eight uniform lengths lie on average 1/2 - 1/9 of their range under the longest.
    assert!(padding(Order::Grouped) < 2 * 1000, "{}", padding(Order::Grouped));
    assert!(padding(Order::Shuffled) > 30 * 1000, "{}", padding(Order::Shuffled));
}

#[test]
fn epochs_and_seeds_have_orders_of_their_own() {
    for order in [Order::Shuffled, Order::Grouped] {
        let sampler = |seed| Sampler::new((0..64).collect(), 4, 1, seed, order);
        assert_ne!(sampler(0).epoch(0), sampler(0).epoch(1));
        assert_ne!(sampler(0).epoch(0), sampler(1).epoch(0));
    }
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::File),
        Just(Order::ByLength),
        Just(Order::Shuffled),
        Just(Order::Grouped)
    ]
}

proptest! {
    #[test]
    fn every_row_is_visited_once_an_epoch(
        lengths in prop::collection::vec(1_usize..40, 1..300),
        (batch_size, accumulate) in (1_usize..12, 1_usize..5),
        (seed, epoch) in (any::<u64>(), 0_usize..50),
        order in orders(),
    ) {
        let rows = lengths.len();
        let mut sampler = Sampler::new(lengths, batch_size, accumulate, seed, order);
        let first = epoch * sampler.steps_per_epoch();
        let mut seen = Vec::new();
        for step in first..first + sampler.steps_per_epoch() {
            prop_assert_eq!(sampler.epoch_of(step), epoch);
            let batches = sampler.step(step);
            prop_assert!((1..=accumulate).contains(&batches.len()));
            prop_assert!(batches.iter().all(|batch| (1..=batch_size).contains(&batch.len())));
            seen.extend(batches.concat());
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..rows).collect::<Vec<_>>());
    }

    #[test]
    fn a_resumed_run_sees_the_rows_it_would_have_seen(
        lengths in prop::collection::vec(1_usize..40, 1..60),
        (batch_size, seed, resumed) in (1_usize..9, any::<u64>(), 0_usize..40),
        order in orders(),
    ) {
        let fresh = || Sampler::new(lengths.clone(), batch_size, 2, seed, order);
        let mut whole = fresh();
        let all: Vec<_> = (0..40).map(|step| whole.step(step)).collect();
        let mut second = fresh();
        let rest: Vec<_> = (resumed..40).map(|step| second.step(step)).collect();
        prop_assert_eq!(&all[resumed..], &rest[..]);
    }

    #[test]
    fn accumulating_sees_the_rows_of_one_large_batch(
        lengths in prop::collection::vec(1_usize..40, 1..100),
        (batch_size, accumulate) in (1_usize..6, 1_usize..5),
        (seed, step) in (any::<u64>(), 0_usize..30),
    ) {
        let mut parts = Sampler::new(lengths.clone(), batch_size, accumulate, seed, Order::Grouped);
        let mut whole = Sampler::new(lengths, batch_size * accumulate, 1, seed, Order::Grouped);
        prop_assert_eq!(parts.step(step).concat(), whole.step(step).concat());
    }

    #[test]
    fn a_padded_batch_reproduces_its_rows(
        rows in prop::collection::vec(
            prop::collection::vec((any::<u32>(), any::<Option<u32>>()), 1..20), 1..10),
        pad in any::<u32>(),
    ) {
        let examples: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let (ids, targets) = row.into_iter().unzip();
                TokenExample { ids, targets }
            })
            .collect();
        let batch = TokenBatch::new(&examples, pad);
        prop_assert_eq!(batch.ids.len(), batch.rows * batch.width);
        let mut targets = vec![None; batch.ids.len()];
        for (position, id) in &batch.targets {
            targets[*position] = Some(*id);
        }
        for (row, example) in examples.iter().enumerate() {
            let (start, end) = (row * batch.width, (row + 1) * batch.width);
            let (ids, padding) = batch.ids[start..end].split_at(batch.lengths[row]);
            prop_assert_eq!(ids, &example.ids[..]);
            prop_assert!(padding.iter().all(|id| *id == pad));
            let (of_row, rest) = targets[start..end].split_at(batch.lengths[row]);
            prop_assert_eq!(of_row, &example.targets[..]);
            prop_assert!(rest.iter().all(Option::is_none));
        }
    }
}
