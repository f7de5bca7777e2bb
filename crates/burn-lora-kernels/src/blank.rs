//! Outputs that are written once: memory is not cleared before a kernel writes all of it.
//!
//! A program that keeps its large blocks (`allocator`) gets them back as they were, so that zeros in an output that is overwritten anyway
//! are a pass over it for nothing. A [`Blank`] is memory without values. It is written as a whole, from an iterator, or row by row, and
//! gives itself back as [`Written`], which is made in no other way: so that a kernel which leaves an element out panics, and no element
//! without a value is ever read.

#![allow(
    unsafe_code,
    reason = "memory without values becomes a slice; `Written` is the proof that it has them"
)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::rows::rows_of_a_share;

/// Memory without values.
#[derive(Debug)]
pub struct Blank<'a>(&'a mut [MaybeUninit<f32>]);

/// What was a [`Blank`], with a value in each place.
#[derive(Debug)]
pub struct Written<'a>(&'a mut [f32]);

impl<'a> Blank<'a> {
    /// How many values it is to have.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is to have none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the first values of the iterator, as many as there are places.
    ///
    /// # Panics
    ///
    /// Where there are fewer, which is a mistake in a kernel.
    #[inline(always)]
    pub fn write(self, values: impl Iterator<Item = f32>) -> Written<'a> {
        let mut count = 0;
        for (place, value) in self.0.iter_mut().zip(values) {
            place.write(value);
            count += 1;
        }
        assert_eq!(count, self.0.len(), "a place without a value");
        // SAFETY: the loop goes from the first place on, one after the other, and came to as many as there are.
        Written(unsafe { self.0.assume_init_mut() })
    }

    /// Writes pairs of values, the first of each here and the second in the other.
    ///
    /// # Panics
    ///
    /// Where there are fewer pairs than places in either, which is a mistake in a kernel.
    #[inline(always)]
    pub fn write_both<'b>(
        self,
        other: Blank<'b>,
        values: impl Iterator<Item = (f32, f32)>,
    ) -> (Written<'a>, Written<'b>) {
        let mut count = 0;
        for ((place, second), (value, other)) in
            self.0.iter_mut().zip(other.0.iter_mut()).zip(values)
        {
            place.write(value);
            second.write(other);
            count += 1;
        }
        assert_eq!([self.0.len(), other.0.len()], [count; 2], "a place without a value");
        // SAFETY: the loop goes from the first places on, one pair after the other, and came to as many as there are in each.
        unsafe { (Written(self.0.assume_init_mut()), Written(other.0.assume_init_mut())) }
    }

    /// Has `each` write every row of that width, the last with what is left, told its index.
    ///
    /// # Panics
    ///
    /// Where `width` is 0, or `each` gives back another row than it was given, which is a mistake in a kernel.
    #[inline(always)]
    pub fn rows(
        self,
        width: usize,
        mut each: impl for<'b> FnMut(usize, Blank<'b>) -> Written<'b>,
    ) -> Written<'a> {
        for (index, row) in self.0.chunks_mut(width).enumerate() {
            let place = Place::of(row);
            place.holds(&each(index, Blank(row)));
        }
        // SAFETY: the rows are all of it, and each came back as `Written`: with a value in each of its places.
        Written(unsafe { self.0.assume_init_mut() })
    }
}

/// Where a blank lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(*const f32, usize);

impl Place {
    #[inline(always)]
    fn of(blank: &[MaybeUninit<f32>]) -> Self {
        Self(blank.as_ptr().cast(), blank.len())
    }

    /// Sees to it that this is what was written there. While it is borrowed as `Written`, nobody can take the values away again.
    #[inline(always)]
    fn holds(self, written: &Written<'_>) {
        assert_eq!(Self(written.0.as_ptr(), written.0.len()), self, "another row than was given");
    }
}

/// Rows of that width, as many as make `count` values, written by `f` on all cores where there is enough to do: `f` is given the index of
/// a first row and the room for some rows from there on.
///
/// # Panics
///
/// Where `width` is 0, or `f` gives back another room than it was given, which is a mistake in a kernel.
pub fn made(
    count: usize,
    width: usize,
    f: impl for<'b> Fn(usize, Blank<'b>) -> Written<'b> + Sync,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(count);
    let room = &mut out.spare_capacity_mut()[..count];
    let rows = rows_of_a_share(width);
    let write = |first: usize, room: &mut [MaybeUninit<f32>]| {
        let place = Place::of(room);
        place.holds(&f(first, Blank(room)));
    };
    match count <= rows * width {
        true => write(0, room),
        false => room
            .par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(index, room)| write(index * rows, room)),
    }
    // SAFETY: there is room for so many, of which the slice above was taken; its shares are all of it, and each came back as `Written`.
    unsafe { out.set_len(count) };
    out
}

/// As [`made`], of two outputs of one shape.
///
/// # Panics
///
/// As [`made`].
pub fn both_made(
    count: usize,
    width: usize,
    f: impl for<'b> Fn(usize, Blank<'b>, Blank<'b>) -> (Written<'b>, Written<'b>) + Sync,
) -> (Vec<f32>, Vec<f32>) {
    let (mut first, mut second) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let rooms =
        (&mut first.spare_capacity_mut()[..count], &mut second.spare_capacity_mut()[..count]);
    let rows = rows_of_a_share(width);
    let write = |index: usize, one: &mut [MaybeUninit<f32>], other: &mut [MaybeUninit<f32>]| {
        let places = [Place::of(one), Place::of(other)];
        let (one, other) = f(index, Blank(one), Blank(other));
        places[0].holds(&one);
        places[1].holds(&other);
    };
    match count <= rows * width {
        true => write(0, rooms.0, rooms.1),
        false => rooms
            .0
            .par_chunks_mut(rows * width)
            .zip(rooms.1.par_chunks_mut(rows * width))
            .enumerate()
            .for_each(|(index, (one, other))| write(index * rows, one, other)),
    }
    // SAFETY: as in `made`, of either.
    unsafe {
        first.set_len(count);
        second.set_len(count);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    /// The safe twin clears its outputs and shares them out.
    #[test]
    fn what_is_made_equals_what_is_written_over_zeros() {
        let value = |at: usize| (at % 1013) as f32 - 500.0;
        for (count, width) in [(0, 3), (15, 3), (7000 * 3, 3), (70_000, 64), (16, 5)] {
            let of_row = |row: usize, width: usize| (0..width).map(move |i| value(row * 7 + i));
            let made = made(count, width, |first, room| {
                room.rows(width, |index, row| {
                    let width = row.len();
                    row.write(of_row(first + index, width))
                })
            });
            let mut twin = vec![0.0; count];
            rows::share(&mut twin, width, |first, chunk| {
                for (index, row) in chunk.chunks_mut(width).enumerate() {
                    let width = row.len();
                    row.iter_mut().zip(of_row(first + index, width)).for_each(|(to, v)| *to = v);
                }
            });
            assert_eq!(made, twin, "{count} {width}");
            let (one, other) = both_made(count, width, |first, one, other| {
                let values = (first * width..).map(|at| (value(at), -value(at)));
                one.write_both(other, values)
            });
            assert!((0..count).all(|at| one[at] == value(at) && other[at] == -value(at)));
            assert_eq!((one.len(), other.len()), (count, count));
        }
    }

    /// What is written is a value as it is, of whatever kind; more values than places are not taken.
    #[test]
    fn values_that_are_no_numbers_and_values_too_many() {
        let odd = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0, 1.0];
        let made = made(4, 4, |_, room| room.write(odd.into_iter()));
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&made), bits(&odd[..4]));
    }

    #[test]
    #[should_panic(expected = "a place without a value")]
    fn a_place_that_is_left_out_is_no_output() {
        made(4, 2, |_, room| room.write([1.0; 3].into_iter()));
    }

    #[test]
    #[should_panic(expected = "a place without a value")]
    fn two_rooms_of_other_sizes_are_no_outputs() {
        let (mut one, mut other) = ([MaybeUninit::uninit(); 2], [MaybeUninit::uninit(); 3]);
        Blank(&mut one).write_both(Blank(&mut other), std::iter::repeat((1.0, 2.0)));
    }

    #[test]
    #[should_panic(expected = "another row than was given")]
    fn a_row_that_stands_for_another_is_refused() {
        let mut room = [MaybeUninit::uninit(); 2];
        Blank(&mut room).rows(2, |_, _| {
            let elsewhere = Box::leak(Box::new([MaybeUninit::uninit(); 2]));
            Blank(elsewhere).write([1.0; 2].into_iter())
        });
    }

    #[test]
    #[should_panic(expected = "another row than was given")]
    fn a_share_that_stands_for_another_is_refused() {
        made(2, 1, |_, _| Written(Box::leak(Box::new([1.0; 2]))));
    }

    #[test]
    #[should_panic(expected = "another row than was given")]
    fn two_rooms_that_change_places_are_refused() {
        both_made(2, 1, |_, one, other| {
            let (one, other) = one.write_both(other, std::iter::repeat((1.0, 2.0)));
            (other, one)
        });
    }

    /// A panic on the way leaves no output: neither its values nor its memory are read.
    #[test]
    fn a_kernel_that_panics_makes_nothing() {
        let made = std::panic::catch_unwind(|| {
            made(70_000, 1, |first, room| {
                assert!(first == 0, "the second share");
                room.write(std::iter::repeat(1.0))
            })
        });
        assert!(made.is_err());
    }
}
