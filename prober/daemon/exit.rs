//! Exit codes: the contract of every subcommand.

use reachd_core::judge::Class;

/// Everything asked about is reachable; notes are allowed.
pub const OK: u8 = 0;
/// Something is not reachable, or nothing can be said of it.
pub const FAILING: u8 = 1;
/// Usage or configuration: nothing was probed.
pub const USAGE: u8 = 2;
/// Every verdict that is not `reachable` says that the fault is our own, or what was found could not
/// be written.
pub const OURSELVES: u8 = 3;

/// The exit code of a `check` with these classes.
pub fn of_classes(classes: impl Iterator<Item = Option<Class>>) -> u8 {
    let mut code = OK;
    for class in classes {
        match class {
            Some(Class::Reachable) => {}
            Some(Class::VantageFault) if code != FAILING => code = OURSELVES,
            Some(_) | None => code = FAILING,
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_fault_counts_only_when_it_is_all_there_is() {
        let code = |classes: &[Class]| of_classes(classes.iter().copied().map(Some));
        assert_eq!(code(&[Class::Reachable, Class::Reachable]), OK);
        assert_eq!(code(&[Class::Reachable, Class::VantageFault]), OURSELVES);
        assert_eq!(code(&[Class::VantageFault, Class::PortClosed]), FAILING);
        assert_eq!(code(&[Class::PortClosed, Class::VantageFault]), FAILING);
        assert_eq!(code(&[Class::PacketLoss]), FAILING);
        assert_eq!(code(&[Class::Unknown]), FAILING);
        assert_eq!(of_classes([None].into_iter()), FAILING);
    }
}
