//! VLANs of a bridge port.

#![forbid(unsafe_code)]

/// The VLAN IDs that exist: 0 and 4095 are reserved (IEEE 802.1Q; `VLAN_VID_MASK` in linux/if_bridge.h).
pub const VIDS: std::ops::RangeInclusive<u16> = 1..=4094;

/// One VLAN that a port is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortVlan {
    /// Its ID.
    pub vid: u16,
    /// Frames that come in without a tag belong to it: it is the port's PVID.
    pub pvid: bool,
    /// Its frames go out without a tag.
    pub untagged: bool,
}

impl PortVlan {
    /// The VLAN of frames without a tag, in and out.
    pub fn untagged(vid: u16) -> Self {
        Self {
            vid,
            pvid: true,
            untagged: true,
        }
    }

    /// A VLAN whose frames carry its tag.
    pub fn tagged(vid: u16) -> Self {
        Self {
            vid,
            pvid: false,
            untagged: false,
        }
    }
}

/// What is wanted of the VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanWish {
    /// The untagged VLAN, if it is not to be the one that the port has.
    pub pvid: Option<u16>,
    /// The tagged VLANs.
    pub tagged: Vec<u16>,
}

impl VlanWish {
    /// All VLANs that a port with these is to have, and no others; in order.
    ///
    /// An untagged VLAN that was not spoken of stays; what else there was goes, since a VLAN that nobody asked for is
    /// a way around those that somebody did.
    pub fn wanted(&self, current: &[PortVlan]) -> Vec<PortVlan> {
        let mut wanted: Vec<PortVlan> = match self.pvid {
            Some(vid) => vec![PortVlan::untagged(vid)],
            None => current.iter().filter(|vlan| vlan.pvid).copied().collect(),
        };
        for &vid in &self.tagged {
            if wanted.iter().all(|vlan| vlan.vid != vid) {
                wanted.push(PortVlan::tagged(vid));
            }
        }
        wanted.sort_unstable();
        wanted
    }
}

/// Reads a list such as `10,20-29`.
pub fn parse_list(list: &str) -> Option<Vec<u16>> {
    let mut vids = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = parse_vid(first)?..=parse_vid(last)?;
        if range.is_empty() {
            return None;
        }
        vids.extend(range);
    }
    vids.sort_unstable();
    vids.dedup();
    Some(vids)
}

/// Reads one ID.
pub fn parse_vid(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let vid = digits.then(|| text.parse().ok())??;
    VIDS.contains(&vid).then_some(vid)
}

/// Those of `these` that are not among `others`: what is to go, or to come, between two sets.
pub fn without(these: &[PortVlan], others: &[PortVlan]) -> Vec<PortVlan> {
    let left = these.iter().filter(|vlan| !others.contains(vlan));
    left.copied().collect()
}

/// Groups VLANs that differ in nothing but consecutive IDs, for people: `(first, last ID)`.
pub fn ranges(vlans: &[PortVlan]) -> Vec<(PortVlan, u16)> {
    let mut ranges: Vec<(PortVlan, u16)> = Vec::new();
    for &vlan in vlans {
        match ranges.last_mut() {
            Some((first, last))
                if *last + 1 == vlan.vid
                    && !vlan.pvid
                    && !first.pvid
                    && first.untagged == vlan.untagged =>
            {
                *last = vlan.vid;
            }
            Some(_) | None => ranges.push((vlan, vlan.vid)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whole_or_not_at_all() {
        assert_eq!(parse_list("10"), Some(vec![10]));
        assert_eq!(parse_list("20-22,10,21"), Some(vec![10, 20, 21, 22]));
        assert_eq!(parse_list("1-4094").map(|l| l.len()), Some(4094));
        for wrong in [
            "", ",", "10,", "0", "4095", "5-4", "a", "+1", "1-2-3", "-1", " 1", "1-",
        ] {
            assert_eq!(parse_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_gets_what_was_asked_for_and_nothing_else() {
        let before = [PortVlan::untagged(1), PortVlan::tagged(7)];
        let wish = |pvid, tagged: &[u16]| VlanWish {
            pvid,
            tagged: tagged.to_vec(),
        };
        assert_eq!(
            wish(Some(10), &[]).wanted(&before),
            [PortVlan::untagged(10)]
        );
        assert_eq!(
            wish(None, &[10, 20]).wanted(&before),
            [
                PortVlan::untagged(1),
                PortVlan::tagged(10),
                PortVlan::tagged(20)
            ]
        );
        assert_eq!(
            wish(Some(10), &[10, 20]).wanted(&before),
            [PortVlan::untagged(10), PortVlan::tagged(20)],
            "the untagged VLAN named among the tagged ones stays untagged"
        );
    }

    #[test]
    fn consecutive_ids_are_grouped_for_people() {
        let vlans = [
            PortVlan::untagged(9),
            PortVlan::tagged(10),
            PortVlan::tagged(11),
            PortVlan::tagged(13),
        ];
        let ranges: Vec<(u16, u16)> = ranges(&vlans)
            .iter()
            .map(|(v, last)| (v.vid, *last))
            .collect();
        assert_eq!(ranges, [(9, 9), (10, 11), (13, 13)]);
    }
}
