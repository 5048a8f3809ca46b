//! `qemu-ifup --check`

use crate::apply::kernel::Tap;
use crate::check::collect::collect;
use crate::check::finding::{Finding, exit_code};
use crate::check::snapshot::CheckContext;
use crate::check::{diagnose, output};
use crate::commands::session::{Session, tap_spec};
use crate::config::conf::{CONF_FILE, MatchedConf};
use crate::config::files::{load_acl, load_conf};
use crate::config::options::TapOptions;
use crate::error::Error;
use crate::error::exit_code::ExitCode;
use crate::model::if_name::IfName;
use crate::policy::rules::Policy;
use crate::report::to_stdout;
use crate::sys::privilege::Credentials;

/// Says what is wrong with the host, the bridge or the tap. The exit code is that of the first problem.
pub(super) fn check(
    session: &mut Session<'_>,
    credentials: Credentials,
    tap: Option<IfName>,
    options: &TapOptions,
) -> Result<ExitCode, Error> {
    let conf = load_conf(tap.unwrap_or(IfName::EXAMPLE_TAP)).map_err(Error::from);
    let acl = load_acl().map_err(Error::from);
    let matched = conf.as_ref().map(|conf| conf.options.clone());
    let all = options.clone().with_defaults(matched.unwrap_or_default());
    let bridge_name = all.bridge.unwrap_or(IfName::DEFAULT_BRIDGE);
    let context = CheckContext {
        authority: session.caller.authority(),
        uid: session.caller.real_uid(),
        net_admin: credentials.net_admin,
        bridge_from: match (options.bridge, &conf) {
            (Some(_), _) => "the command line, or the name that the program was run under",
            (None, Ok(conf)) if conf.options.bridge.is_some() => CONF_FILE,
            (None, Ok(_) | Err(_)) => "default",
        },
        conf: conf.clone().map(|conf| conf.lines),
        acl: match &acl {
            Ok(acl) => Ok(acl.as_ref().map(|acl| acl.verdict(bridge_name))),
            Err(error) => Err(error.clone()),
        },
        bridge_name,
        creates_bridge: all.create_bridge,
        tap,
    };
    let mut findings = diagnose(&collect(&mut session.kernel, context)?);
    // Where nothing is wrong with the host, what was asked for may still be refused.
    if let (Some(tap), ExitCode::Success, Ok(conf), Ok(acl)) =
        (tap, exit_code(&findings), conf, acl)
    {
        let policy = Policy::new(&session.caller, acl.as_ref(), true);
        let kernel = &mut session.kernel;
        let mut try_up = |conf: MatchedConf| {
            let spec = tap_spec(tap, options, conf)?;
            let state = kernel.observe(&mut Tap::new(tap), Some(&spec))?;
            policy.authorize_up(spec, options, state).map(|_| ())
        };
        findings.extend(try_up(conf).err().as_ref().map(Finding::from_error));
    }
    to_stdout(&output::text(&findings))?;
    Ok(exit_code(&findings))
}
