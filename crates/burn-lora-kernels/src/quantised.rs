//! A matrix whose numbers are held in blocks of a few bits, and its numbers in f32.
//!
//! [`Quantised`] holds such a matrix in memory of its own, [`QuantisedRef`] reads it: any run of a row, whatever block it begins in,
//! so that what multiplies with it (`tiled`) has no more than a tile of it in f32. Blocks lie along the rows as they are stored; a
//! weight that files have as `[d_out, d_in]` stays so and is read transposed.
//!
//! Left out: making blocks of numbers, which is done once, by whoever loads a model.

mod blocks;
#[cfg(feature = "flex")]
mod matrix;
pub mod nf4;
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod strips;
#[cfg(feature = "flex")]
mod tiles;

#[cfg(feature = "flex")]
pub use matrix::QuantisedMatrix;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are ggml's own")]
#[allow(missing_docs, reason = "ggml's names say all there is to say")]
#[non_exhaustive]
pub enum BlockFormat {
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q6_K,
    /// See [`nf4`].
    NF4,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q4_K,
        Self::Q6_K,
        Self::NF4,
    ];

    /// How many numbers share a scale; in a row of ggml's formats the last block is padded.
    pub fn block_len(self) -> usize {
        match self {
            Self::Q4_K | Self::Q6_K => 256,
            Self::NF4 => nf4::BLOCK,
            _ => 32,
        }
    }

    /// Bytes of a matrix as it is stored.
    pub fn bytes(self, [rows, columns]: [usize; 2]) -> usize {
        match self {
            Self::NF4 => nf4::Layout::of(rows * columns).bytes(),
            _ => rows * self.row_bytes(columns),
        }
    }

    /// Bytes of a row of so many numbers, in ggml's formats.
    fn row_bytes(self, columns: usize) -> usize {
        let bytes = match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q4_K => 144,
            Self::Q6_K => 210,
            Self::NF4 => 0,
        };
        columns.div_ceil(self.block_len()) * bytes
    }
}

/// What is to be known of a matrix beside its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    format: BlockFormat,
    stored: [usize; 2],
    transposed: bool,
}

/// Words before the blocks.
const HEAD: usize = 4;

/// The first word: as f32 it is not a number.
const MARK: u32 = 0x7fc0_b10c;

impl Head {
    /// The words that stand before the blocks.
    fn words(self) -> [u32; HEAD] {
        let number = BlockFormat::ALL.iter().position(|format| *format == self.format);
        let word = number.unwrap_or_default() as u32 | u32::from(self.transposed) << 8;
        let side = |side: usize| u32::try_from(side).expect("a side of less than 2^32");
        [MARK, word, side(self.stored[0]), side(self.stored[1])]
    }

    /// What the words say, if they are such and the blocks are there.
    #[cfg(feature = "flex")]
    fn of(bytes: &[u8]) -> Option<Self> {
        let (words, blocks) = bytes.split_at_checked(4 * HEAD)?;
        let word = |index: usize| {
            let at = 4 * index;
            u32::from_ne_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
        };
        let format = *BlockFormat::ALL.get((word(1) & 0xff) as usize)?;
        let stored = [word(2) as usize, word(3) as usize];
        let fits = word(0) == MARK && format.bytes(stored) <= blocks.len();
        fits.then_some(Self { format, stored, transposed: word(1) >> 8 == 1 })
    }

    /// Rows and columns of the matrix that is multiplied with.
    fn shape(self) -> [usize; 2] {
        let [rows, columns] = self.stored;
        if self.transposed { [columns, rows] } else { [rows, columns] }
    }
}

/// A matrix in blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    head: Head,
    /// The head, then the blocks, as a Flex tensor carries them.
    words: Vec<u32>,
}

impl Quantised {
    /// A matrix whose rows lie one after the other, `stored: [rows, columns]`, with blocks of zero bytes, which are
    /// to be [overwritten](Self::bytes_mut). `transposed`: what is multiplied with is the transposed of what is stored.
    ///
    /// # Panics
    ///
    /// Of a side of 2^32 and more.
    pub fn zeroed(format: BlockFormat, stored: [usize; 2], transposed: bool) -> Self {
        let head = Head { format, stored, transposed };
        let mut words = vec![0; HEAD + format.bytes(stored).div_ceil(4)];
        words[..HEAD].copy_from_slice(&head.words());
        Self { head, words }
    }

    /// The blocks, row after row: in ggml's formats as files have them, of NF4 as [`nf4`] says.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let count = self.head.format.bytes(self.head.stored);
        &mut bytemuck::cast_slice_mut(&mut self.words[HEAD..])[..count]
    }

    /// To read.
    pub fn view(&self) -> QuantisedRef<'_> {
        QuantisedRef { head: self.head, blocks: bytemuck::cast_slice(&self.words[HEAD..]) }
    }
}

/// A matrix in blocks, to read, or that matrix transposed.
#[derive(Debug, Clone, Copy)]
pub struct QuantisedRef<'a> {
    head: Head,
    blocks: &'a [u8],
}

impl QuantisedRef<'_> {
    /// The format of its blocks.
    pub fn format(self) -> BlockFormat {
        self.head.format
    }

    /// Bytes that its blocks take.
    pub fn bytes(self) -> usize {
        self.head.format.bytes(self.head.stored)
    }

    /// Rows and columns.
    pub fn shape(self) -> [usize; 2] {
        self.head.shape()
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let head = Head { transposed: !self.head.transposed, ..self.head };
        Self { head, ..self }
    }

    /// The numbers of a stored row from `column` on, as many as `out` has.
    ///
    /// # Panics
    ///
    /// Where the row has not so many, which is a mistake in a kernel.
    #[inline(always)]
    pub fn read(self, row: usize, column: usize, out: &mut [f32]) {
        let Head { format, stored: [_, columns], .. } = self.head;
        assert!(column + out.len() <= columns, "a run beyond its row");
        if format == BlockFormat::NF4 {
            return self.nf4().read(row * columns + column, out);
        }
        let row = self.row(row);
        match format {
            BlockFormat::Q8_0 => blocks::read(row, column, out, blocks::q8_0),
            BlockFormat::Q4_0 => blocks::read(row, column, out, blocks::q4_0),
            BlockFormat::Q4_1 => blocks::read(row, column, out, blocks::q4_1),
            BlockFormat::Q5_0 => blocks::read(row, column, out, blocks::q5_0),
            BlockFormat::Q5_1 => blocks::read(row, column, out, blocks::q5_1),
            BlockFormat::Q4_K => blocks::read(row, column, out, blocks::q4_k),
            BlockFormat::Q6_K => blocks::read(row, column, out, blocks::q6_k),
            BlockFormat::NF4 => {}
        }
    }

    /// The blocks of a stored row, in ggml's formats.
    #[inline(always)]
    fn row(&self, row: usize) -> &[u8] {
        let bytes = self.head.format.row_bytes(self.head.stored[1]);
        &self.blocks[row * bytes..][..bytes]
    }

    /// What NF4 holds.
    #[inline(always)]
    fn nf4(&self) -> nf4::Parts<'_> {
        let [rows, columns] = self.head.stored;
        nf4::Parts::of(self.blocks, nf4::Layout::of(rows * columns))
    }

    /// The rows from `start` on, as many as `out` has, one after the other.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn rows(self, start: usize, out: &mut [f32]) {
        let [_, width] = self.shape();
        if width == 0 {
            return;
        }
        if !self.head.transposed {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                self.read(start + row, 0, out);
            }
            return;
        }
        let mut column = vec![0.0; out.len() / width];
        for stored in 0..width {
            self.read(stored, start, &mut column);
            for (row, value) in column.iter().enumerate() {
                out[row * width + stored] = *value;
            }
        }
    }
}

/// Whole blocks of one of ggml's formats, as a file has them, in f32.
///
/// # Panics
///
/// Where there are fewer blocks than numbers need.
pub fn dequantise(format: BlockFormat, blocks: &[u8], floats: &mut [f32]) {
    let head = Head { format, stored: [1, floats.len()], transposed: false };
    QuantisedRef { head, blocks }.read(0, 0, floats);
}

#[cfg(test)]
mod tests;
