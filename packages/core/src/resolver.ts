/** Names to addresses, for whoever opens a connection by name (`dial`). The DNS server's wire path is `@netkit/dns`. */

/** Options of `Resolver.resolve`. */
export interface ResolveOptions {
  /** Only this family; default both. */
  family?: 4 | 6
  signal?: AbortSignal
}

/** Turns a name into addresses. */
export interface Resolver {
  /**
   * Addresses of `name` in the resolver's order, canonical text, at least one.
   * Rejects with `ENOTFOUND` where the name or its addresses do not exist and `EAI_AGAIN` where that could not be found out.
   */
  resolve(name: string, options?: ResolveOptions): Promise<readonly string[]>
}
