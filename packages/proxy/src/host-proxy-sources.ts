/**
 * The sources by which the host itself would decide: what it is set to, then this process's environment.
 *
 * ```
 *   system: hostSettings() ─▶ proxies, exceptions, or a PAC script (thread, only when one is set)
 *   env:    *_proxy of this process
 * ```
 */

import type { Resolver } from '@netkit/core'
import type { DecisionSource } from './decision.ts'
import { envSettings } from './env-settings.ts'
import { hostSettings } from './host-settings/host-settings.ts'
import type { HostSettingsOptions } from './host-settings/host-settings.ts'
import type { ClosablePacEvaluator } from './pac/pac-evaluator.ts'
import { fixedSettings, settingsSource } from './proxy-settings.ts'
import type { PacEvaluator, SettingsSourceOptions } from './proxy-settings.ts'

/** Options of `hostProxySources`. */
export interface HostProxySourcesOptions extends HostSettingsOptions {
  /** Answers what PAC scripts ask about names. */
  readonly resolver: Resolver
  /** When a PAC script cannot be had or fails. Default `direct`, as browsers. */
  readonly pacFailure?: SettingsSourceOptions['pacFailure']
}

/** Sources that follow the host. */
export interface HostProxySources extends AsyncDisposable {
  /** `system`, then `env`. */
  readonly sources: readonly DecisionSource[]
  /** Runs when the settings changed. */
  onChange(run: () => void): () => void
  /** The host's network changed: a PAC script is fetched again. */
  networkChanged(): void
  close(): Promise<void>
}

/** Follows the host's settings. Resolves once they have been read. */
export async function hostProxySources(
  options: HostProxySourcesOptions,
): Promise<HostProxySources> {
  const { environment = process.env, pacFailure } = options
  const settings = await hostSettings(options)
  const pac = new LazyPac(options)
  const close = async (): Promise<void> => {
    await settings.close()
    await pac.close()
  }
  return {
    sources: [
      settingsSource('system', settings, { pac, ...(pacFailure && { pacFailure }) }),
      settingsSource('env', fixedSettings(envSettings(environment), 'the environment')),
    ],
    onChange: (run) => settings.onChange(run),
    networkChanged: () => pac.refresh(),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Loads the evaluator only when a host is set to a script. */
class LazyPac implements PacEvaluator {
  readonly #options: HostProxySourcesOptions
  #evaluator: Promise<ClosablePacEvaluator> | undefined

  constructor(options: HostProxySourcesOptions) {
    this.#options = options
  }

  async hopsFor(
    ...asked: Parameters<PacEvaluator['hopsFor']>
  ): ReturnType<PacEvaluator['hopsFor']> {
    this.#evaluator ??= this.#load()
    return (await this.#evaluator).hopsFor(...asked)
  }

  refresh(): void {
    void this.#evaluator?.then((evaluator) => evaluator.refresh()).catch(() => {})
  }

  async close(): Promise<void> {
    await this.#evaluator?.then((evaluator) => evaluator.close()).catch(() => {})
  }

  async #load(): Promise<ClosablePacEvaluator> {
    const { resolver, clock } = this.#options
    const { createPacEvaluator } = await import('./pac/index.ts')
    return createPacEvaluator({ resolver, ...(clock && { clock }) })
  }
}
