//! Cases: a number, and all that follows from it.

use super::family::Family;
use super::manifest::{Confounder, Manifest, ManifestError, Split, Topology};
use crate::random::Random;

/// The manifest with its families, and where each of them begins.
#[derive(Debug)]
pub struct Corpus {
    /// What is counted and drawn.
    pub manifest: Manifest,
    /// What may be broken.
    pub families: Vec<Family>,
    blocks: Vec<Block>,
}

/// Cases of one family that show one confounder.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: u64,
    count: u64,
    split: Split,
    family: usize,
    confounder: Confounder,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// Its number.
    pub index: u64,
    /// What is broken.
    pub family: &'a Family,
    /// Which part of the corpus it belongs to.
    pub split: Split,
    /// What makes it harder to read; the first is the one it is counted under.
    pub confounders: Vec<Confounder>,
    /// Vantages and routers.
    pub topology: &'a Topology,
    /// What its network and its prober draw from.
    pub seed: u64,
}

impl Case<'_> {
    /// Whether it has this confounder.
    pub fn has(&self, confounder: Confounder) -> bool {
        self.confounders.contains(&confounder)
    }
}

impl Corpus {
    /// The corpus that is built in.
    ///
    /// # Errors
    /// If a file is broken, or a family finds no topology.
    pub fn load() -> Result<Self, ManifestError> {
        let (manifest, families) = (Manifest::load()?, Family::load_all()?);
        let mut blocks = Vec::new();
        let mut first = 0;
        for split in Split::ALL {
            for (number, family) in families.iter().enumerate() {
                let held = manifest.held.families.contains(&family.name);
                if held && split == Split::Dev {
                    continue;
                }
                let fits = |topology: &Topology| {
                    topology.split() == split && family.needs.met_by(topology)
                };
                if !manifest.topologies.iter().any(fits) {
                    return Err(ManifestError::Topology { family: family.name.clone(), split });
                }
                for (confounder, count) in manifest.counts.of(split) {
                    if family.without.contains(confounder) {
                        continue;
                    }
                    let (count, confounder) = (count * family.weight, *confounder);
                    blocks.push(Block { first, count, split, family: number, confounder });
                    first += count;
                }
            }
        }
        Ok(Self { manifest, families, blocks })
    }

    /// How many cases there are.
    pub fn len(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.first + block.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers of the cases of a split, or of both.
    pub fn indices(&self, split: Option<Split>) -> Vec<u64> {
        self.numbers(|block| split.is_none_or(|it| it == block.split))
    }

    /// At most so many of them, evenly spread over families and confounders.
    pub fn sample(&self, split: Option<Split>, limit: Option<u64>) -> Vec<u64> {
        thinned(self.indices(split), limit)
    }

    /// The same of one family alone.
    pub fn sample_of(&self, family: &str, split: Option<Split>, limit: Option<u64>) -> Vec<u64> {
        let named = |block: &Block| {
            self.families.get(block.family).is_some_and(|known| known.name == family)
        };
        let wanted = |block: &Block| named(block) && split.is_none_or(|it| it == block.split);
        thinned(self.numbers(wanted), limit)
    }

    fn numbers(&self, wanted: impl Fn(&Block) -> bool) -> Vec<u64> {
        let blocks = self.blocks.iter().filter(|block| wanted(block));
        blocks.flat_map(|block| block.first..block.first + block.count).collect()
    }

    /// The case of this number.
    pub fn case(&self, index: u64) -> Option<Case<'_>> {
        let place = self.blocks.partition_point(|block| block.first <= index).checked_sub(1)?;
        let block = self.blocks.get(place).filter(|block| index < block.first + block.count)?;
        let family = self.families.get(block.family)?;
        let mut random =
            Random::new(self.manifest.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let fits =
            |topology: &&Topology| topology.split() == block.split && family.needs.met_by(topology);
        let topologies: Vec<_> = self.manifest.topologies.iter().filter(fits).collect();
        let topology = *random.pick(&topologies);
        let mut confounders = vec![block.confounder];
        if block.confounder != Confounder::None && random.chance(self.manifest.second.share) {
            let open = |other: &Confounder| {
                *other != Confounder::None
                    && *other != block.confounder
                    && !family.without.contains(other)
            };
            let others: Vec<_> = Confounder::ALL.into_iter().filter(open).collect();
            confounders.push(*random.pick(&others));
        }
        let (split, seed) = (block.split, random.next());
        Some(Case { index, family, split, confounders, topology, seed })
    }
}

/// At most so many of these, evenly spread.
fn thinned(all: Vec<u64>, limit: Option<u64>) -> Vec<u64> {
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let Some(limit) = limit.filter(|limit| *limit < count) else { return all };
    let at = |number: u64| usize::try_from(number * count / limit.max(1)).unwrap_or(usize::MAX);
    (0..limit).filter_map(|number| all.get(at(number)).copied()).collect()
}
