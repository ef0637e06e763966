/**
 * `node --import @netkit/testnet/register …`: the hooks of `host.run` are in place before the first module of the program is loaded,
 * so that nothing it takes out of `node:tls`, `node:timers` and their kin escapes them. They do nothing outside of a run.
 *
 * @packageDocumentation
 */

import { install } from '../node/install.ts'

install()
