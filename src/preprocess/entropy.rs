//! The coded data of a sequential JPEG scan (ITU-T T.81, annex F): whether every block of it is there. Nothing is reconstructed.

use super::markers::RESTARTS;

/// Why a scan was not followed to its last block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    /// The data ended before the last block.
    Early,
    /// What came is no code of its table, or there is no table. That is for the decoder to refuse.
    Unclear,
}

/// Bits that are looked up at once; longer codes are rare.
const LOOKUP_BITS: usize = 9;

/// A Huffman table (T.81, annex C).
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Length and symbol of the code that the next bits begin with; length 0 for a longer one.
    lookup: Vec<(u8, u8)>,
    /// For each length the first code, the number of codes, and the index of the first symbol.
    lengths: [(u32, u32, u32); 17],
    symbols: Vec<u8>,
}

impl Table {
    /// `counts` codes of 1 to 16 bits with their `symbols`; `None` when there are more codes than bits can tell apart.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Table> {
        let mut table = Table {
            lookup: vec![(0, 0); 1 << LOOKUP_BITS],
            lengths: [(0, 0, 0); 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0u32, 0u32);
        for (length, &count) in (1usize..).zip(counts) {
            let count = u32::from(count);
            table.lengths[length] = (code, count, index);
            if code + count > 1 << length {
                return None;
            }
            for _ in 0..count {
                let symbol = *symbols.get(index as usize)?;
                if let Some(spare) = LOOKUP_BITS.checked_sub(length) {
                    let first = (code as usize) << spare;
                    table.lookup[first..first + (1 << spare)].fill((length as u8, symbol));
                }
                code += 1;
                index += 1;
            }
            code <<= 1;
        }
        Some(table)
    }

    /// Length and symbol of the code at the top of 16 bits.
    fn find(&self, window: u32) -> Option<(u32, u8)> {
        match self.lookup[(window >> (16 - LOOKUP_BITS)) as usize] {
            (0, _) => (LOOKUP_BITS + 1..=16).find_map(|length| {
                let (first, count, index) = self.lengths[length];
                let nth = (window >> (16 - length)).checked_sub(first)?;
                let symbol = self.symbols.get((index + nth) as usize)?;
                (nth < count).then_some((length as u32, *symbol))
            }),
            (length, symbol) => Some((length.into(), symbol)),
        }
    }
}

/// The blocks of one component in a unit of a scan, and the tables they are coded with.
pub(super) struct Blocks<'a> {
    pub count: u64,
    pub dc: &'a Table,
    pub ac: &'a Table,
}

/// Follows the coded `data` of a scan through its `units`, which start anew every `restart` units; 0 is never.
pub(super) fn follow(
    data: &[u8],
    components: &[Blocks<'_>],
    units: u64,
    restart: u64,
) -> Result<(), Stop> {
    let mut bits = Bits {
        data,
        at: 0,
        buffer: 0,
        count: 0,
    };
    // Each block takes two bits or more, so the data bound this loop, not the header.
    for unit in 0..units {
        if restart > 0 && unit > 0 && unit.is_multiple_of(restart) {
            bits.restart()?;
        }
        for component in components {
            for _ in 0..component.count {
                bits.block(component.dc, component.ac)?;
            }
        }
    }
    Ok(())
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next `count` bits, right-aligned.
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    fn block(&mut self, dc: &Table, ac: &Table) -> Result<(), Stop> {
        let size = self.symbol(dc)?;
        self.pass(size)?;
        let mut coefficient = 1;
        while coefficient < 64 {
            match self.symbol(ac)? {
                // The rest of the block is zero.
                0 => break,
                symbol => {
                    self.pass(symbol & 15)?;
                    coefficient += usize::from(symbol >> 4) + 1;
                }
            }
        }
        Ok(())
    }

    fn symbol(&mut self, table: &Table) -> Result<u8, Stop> {
        self.fill();
        let window = match self.count {
            0..16 => self.buffer << (16 - self.count),
            _ => self.buffer >> (self.count - 16),
        };
        let found = table.find((window & 0xffff) as u32);
        match found {
            Some((length, symbol)) if length <= self.count => {
                self.count -= length;
                Ok(symbol)
            }
            None if self.count >= 16 => Err(Stop::Unclear),
            _ => Err(Stop::Early),
        }
    }

    fn pass(&mut self, bits: u8) -> Result<(), Stop> {
        self.fill();
        self.count = self.count.checked_sub(bits.into()).ok_or(Stop::Early)?;
        Ok(())
    }

    /// At least 16 bits, as far as there are any before the next marker.
    fn fill(&mut self) {
        if self.count >= 16 {
            return;
        }
        while self.count <= 48 {
            let Some(&byte) = self.data.get(self.at) else {
                return;
            };
            if byte == 0xff {
                match self.data.get(self.at + 1) {
                    Some(0) => self.at += 1,
                    Some(0xff) => {
                        self.at += 1;
                        continue;
                    }
                    _ => return,
                }
            }
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// Goes on behind the next restart marker.
    fn restart(&mut self) -> Result<(), Stop> {
        self.count = 0;
        let rest = self.data.get(self.at..).unwrap_or_default();
        let found = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && RESTARTS.contains(&pair[1]));
        self.at += found.ok_or(Stop::Early)? + 2;
        Ok(())
    }
}
