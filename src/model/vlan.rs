//! VLANs of a bridge port, and lists of VLAN IDs.

use crate::model::parse_decimal;

/// The VLAN IDs that exist: 0 and 4095 are reserved (IEEE 802.1Q; `VLAN_VID_MASK` in linux/if_bridge.h).
pub(crate) const VID_RANGE: std::ops::RangeInclusive<u16> = 1..=4094;

/// One VLAN that a port is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortVlan {
    pub(crate) vid: u16,
    /// Incoming untagged frames belong to it: it is the port's PVID.
    pub(crate) pvid: bool,
    /// Its frames are sent untagged.
    pub(crate) untagged: bool,
}

impl PortVlan {
    /// The VLAN of untagged frames, in and out.
    pub(crate) fn untagged(vid: u16) -> Self {
        Self {
            vid,
            pvid: true,
            untagged: true,
        }
    }

    /// A VLAN whose frames are tagged.
    pub(crate) fn tagged(vid: u16) -> Self {
        Self {
            vid,
            pvid: false,
            untagged: false,
        }
    }
}

/// Parses a list such as `10,20-29`.
pub(crate) fn parse_vid_list(list: &str) -> Option<Vec<u16>> {
    let mut ranges = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = parse_vid(first)?..=parse_vid(last)?;
        if range.is_empty() {
            return None;
        }
        ranges.push(range);
    }
    let is_listed = |vid: &u16| ranges.iter().any(|range| range.contains(vid));
    Some(VID_RANGE.filter(is_listed).collect())
}

pub(crate) fn parse_vid(text: &str) -> Option<u16> {
    let vid = u16::try_from(parse_decimal(text)?).ok()?;
    VID_RANGE.contains(&vid).then_some(vid)
}

/// The VLANs of `vlans` that are not among `others`.
pub(crate) fn difference(vlans: &[PortVlan], others: &[PortVlan]) -> Vec<PortVlan> {
    let left = vlans.iter().filter(|vlan| !others.contains(vlan));
    left.copied().collect()
}

/// Groups VLANs that differ only in consecutive IDs, as bridge(8) writes them: `(first, last ID)`.
pub(crate) fn group_ranges(vlans: &[PortVlan]) -> Vec<(PortVlan, u16)> {
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
        assert_eq!(parse_vid_list("10"), Some(vec![10]));
        assert_eq!(parse_vid_list("20-22,10,21"), Some(vec![10, 20, 21, 22]));
        assert_eq!(parse_vid_list("1-4094").map(|l| l.len()), Some(4094));
        for wrong in [
            "", ",", "10,", "0", "4095", "5-4", "a", "+1", "1-2-3", "-1", " 1", "1-",
        ] {
            assert_eq!(parse_vid_list(wrong), None, "{wrong}");
        }
    }
}
