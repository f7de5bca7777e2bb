//! The numbers of safetensors files, little-endian: f32, f16 and bf16, each to any of them.

use half::{bf16, f16};
pub use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Whether [`decode`] reads it.
pub fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// A number of one of the formats, made of one of any: exactly where it can be, else rounded to the
/// nearest, ties to even.
pub trait Number: Copy {
    /// safetensors' name of the format.
    const DTYPE: Dtype;

    /// Of f32.
    fn from_f32(value: f32) -> Self;

    /// Of f16.
    fn from_f16(value: f16) -> Self {
        Self::from_f32(value.to_f32())
    }

    /// Of bf16.
    fn from_bf16(value: bf16) -> Self {
        Self::from_f32(value.to_f32())
    }
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Number for f16 {
    const DTYPE: Dtype = Dtype::F16;

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn from_f16(value: f16) -> Self {
        value
    }
}

impl Number for bf16 {
    const DTYPE: Dtype = Dtype::BF16;

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn from_bf16(value: bf16) -> Self {
        value
    }
}

/// Decodes as many numbers as `numbers` has room for.
///
/// # Panics
///
/// If [`is_float`] does not hold, or `bytes` has another number of numbers.
pub fn decode<T: Number>(dtype: Dtype, bytes: &[u8], numbers: &mut [T]) {
    fn each<T, const N: usize>(bytes: &[u8], numbers: &mut [T], number: impl Fn([u8; N]) -> T) {
        let (stored, rest) = bytes.as_chunks::<N>();
        assert!(rest.is_empty() && stored.len() == numbers.len(), "bytes and room differ");
        for (room, bytes) in numbers.iter_mut().zip(stored) {
            *room = number(*bytes);
        }
    }
    match dtype {
        Dtype::F32 => each(bytes, numbers, |bytes| T::from_f32(f32::from_le_bytes(bytes))),
        Dtype::F16 => each(bytes, numbers, |bytes| T::from_f16(f16::from_le_bytes(bytes))),
        Dtype::BF16 => each(bytes, numbers, |bytes| T::from_bf16(bf16::from_le_bytes(bytes))),
        other => panic!("{other:?} is no float that is read here"),
    }
}

/// The numbers of a tensor; `None` where [`is_float`] does not hold.
pub fn values(view: &TensorView<'_>) -> Option<Vec<f32>> {
    is_float(view.dtype()).then(|| {
        let mut floats = vec![0.0; view.shape().iter().product()];
        decode(view.dtype(), view.data(), &mut floats);
        floats
    })
}

/// The numbers of a tensor without loss, f64 too; `None` for any other kind.
pub fn values_f64(view: &TensorView<'_>) -> Option<Vec<f64>> {
    match view.dtype() {
        Dtype::F64 => {
            Some(view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        _ => values(view).map(|values| values.into_iter().map(f64::from).collect()),
    }
}

/// Appends the numbers, rounded to the nearest (ties to even) where they are halved.
///
/// # Panics
///
/// If [`is_float`] does not hold.
pub fn encode(dtype: Dtype, values: &[f32], bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        Dtype::F16 => bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
        Dtype::BF16 => bytes.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes())),
        other => panic!("{other:?} is no float that is written here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1/3 has no end in binary; 2^-10 is exact in either half; 70000 is beyond f16.
    const NUMBERS: [f32; 4] = [1.0 / 3.0, -2.5, 0.000_976_562_5, 70_000.0];

    fn there_and_back(dtype: Dtype) -> Vec<f32> {
        let mut bytes = Vec::new();
        encode(dtype, &NUMBERS, &mut bytes);
        let view = TensorView::new(dtype, vec![2, 2], &bytes).unwrap();
        let floats = values(&view).unwrap();
        let wide: Vec<f64> = floats.iter().copied().map(f64::from).collect();
        assert_eq!(values_f64(&view), Some(wide));
        floats
    }

    #[test]
    fn numbers_come_back_rounded_as_their_format_rounds() {
        assert_eq!(there_and_back(Dtype::F32), NUMBERS);
        // By hand: 1/3 is 1.0101010101|01... b-2, kept to 10 and to 7 fraction bits.
        let f16_third = 1365.0 / 4096.0;
        assert_eq!(there_and_back(Dtype::F16), [f16_third, -2.5, NUMBERS[2], f32::INFINITY]);
        // 70000 is 1.0001000101110000 b16; 7 fraction bits keep 1.0001001 (rounded up): 137 * 512.
        let bf16_third = 171.0 / 512.0;
        assert_eq!(there_and_back(Dtype::BF16), [bf16_third, -2.5, NUMBERS[2], 70_144.0]);
    }

    #[test]
    fn float64_is_read_whole_and_integers_are_not_read() {
        let bytes = 0.1_f64.to_le_bytes();
        let view = TensorView::new(Dtype::F64, vec![1], &bytes).unwrap();
        assert_eq!(values_f64(&view), Some(vec![0.1]));
        assert_eq!(values(&view), None);
        let view = TensorView::new(Dtype::I64, vec![1], &bytes).unwrap();
        assert_eq!(values_f64(&view), None);
    }

    #[test]
    fn a_half_stays_as_it_is_in_its_own_format_and_is_rounded_in_the_other() {
        let mut bytes = Vec::new();
        encode(Dtype::BF16, &NUMBERS, &mut bytes);
        let mut halves = [bf16::ZERO; 4];
        decode(Dtype::BF16, &bytes, &mut halves);
        assert_eq!(halves, NUMBERS.map(bf16::from_f32));
        // 8 bits of precision are exact in 11, and 70144 is beyond f16.
        let mut others = [f16::ZERO; 4];
        decode(Dtype::BF16, &bytes, &mut others);
        assert_eq!(others[0].to_f32(), 171.0 / 512.0);
        assert_eq!(others[3], f16::INFINITY);
    }

    #[test]
    #[should_panic(expected = "bytes and room differ")]
    fn room_for_more_numbers_than_there_are_is_not_left_as_it_was() {
        decode(Dtype::F16, &[0, 0], &mut [0.0_f32; 2]);
    }
}
