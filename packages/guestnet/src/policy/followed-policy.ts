/**
 * A policy that follows its file.
 *
 * ```
 *   the file changed ─▶ reads well? ─ yes ─▶ its rules hold from now on; live flows are decided again
 *                                     └ no ─▶ the former rules hold; `onInvalid` has the place and the reason
 * ```
 *
 * A file that is gone or cannot be read is one that does not read well: nothing opens because something broke.
 */

import { egressRules, isNetkitError, NetkitError } from '@netkit/core'
import type {
  Clock,
  EgressRule,
  EgressRules,
  EgressRulesOptions,
  FlowRequest,
  Verdict,
} from '@netkit/core'
import { hostFiles, watchFiles } from '@netkit/core/node'
import type { FileWatch, HostFiles } from '@netkit/core/node'
import { parsePolicyFile } from './policy-file.ts'
import type { PolicyFile } from './policy-file.ts'

/** Options of `followPolicyFile`. */
export interface FollowPolicyOptions {
  /** Other rules hold now. */
  readonly onChange?: (policy: PolicyFile) => void
  /** The file changed and cannot be used; what held before still holds. */
  readonly onInvalid?: (error: NetkitError) => void
  /** Default the host's. */
  readonly files?: HostFiles
  readonly clock?: Clock
}

/** A policy that follows a file until it is disposed of. */
export interface FollowedPolicy extends EgressRules, AsyncDisposable {
  /** What holds now. */
  readonly current: PolicyFile
}

class Followed implements FollowedPolicy {
  readonly #path: string
  readonly #options: FollowPolicyOptions
  readonly #rules: EgressRules
  readonly #watch: FileWatch
  current: PolicyFile

  constructor(path: string, options: FollowPolicyOptions, watch: FileWatch) {
    this.#path = path
    this.#options = options
    this.#watch = watch
    this.current = parse(path, watch.texts.get(path))
    this.#rules = egressRules(this.current.rules, { fallback: this.current.fallback })
  }

  decide(flow: FlowRequest): Verdict {
    return this.#rules.decide(flow)
  }

  get byName(): boolean {
    return this.#rules.byName
  }

  onChange(run: () => void): () => void {
    return this.#rules.onChange(run)
  }

  replace(rules: readonly EgressRule[], options?: EgressRulesOptions): void {
    this.#rules.replace(rules, options)
  }

  /** The file has another text, or is gone. */
  changed(text: string | undefined): void {
    const { onChange, onInvalid } = this.#options
    try {
      this.current = parse(this.#path, text)
    } catch (error) {
      if (!isNetkitError(error)) throw error
      onInvalid?.(error)
      return
    }
    const { rules, fallback } = this.current
    this.#rules.replace(rules, { fallback })
    onChange?.(this.current)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#watch.close()
  }
}

function parse(path: string, text: string | undefined): PolicyFile {
  if (text !== undefined) return parsePolicyFile(text, path)
  throw new NetkitError(
    'NETKIT_POLICY_FILE',
    `${path}: there is no such file, or it cannot be read. Name a policy file that is there.`,
  )
}

/**
 * Reads a policy file and follows its changes.
 *
 * @throws NetkitError `NETKIT_POLICY_FILE` when it cannot be read at the start, with the place.
 */
export async function followPolicyFile(
  path: string,
  options: FollowPolicyOptions = {},
): Promise<FollowedPolicy> {
  const { files = hostFiles, clock } = options
  const begun: { policy?: Followed } = {}
  const watch = await watchFiles({
    paths: [path],
    files,
    ...(clock && { clock }),
    onChange: (texts) => begun.policy?.changed(texts.get(path)),
  })
  try {
    begun.policy = new Followed(path, options, watch)
    return begun.policy
  } catch (error) {
    await watch.close()
    throw error
  }
}
