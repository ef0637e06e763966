/**
 * The host's own name service: resolvers and watchers for Linux, macOS and Windows.
 *
 * @packageDocumentation
 */
export * from './dot.ts'
export * from './host-resolver.ts'
export * from './hosts-file.ts'
export * from './linux-resolver.ts'
export * from './lookup-resolver.ts'
export * from './mac-resolver.ts'
export * from './mdns-responder.ts'
export * from './nsswitch.ts'
export * from './resolv-conf.ts'
export * from './resolved-monitor.ts'
export * from './resolved-varlink.ts'
export * from './routed-resolver.ts'
export * from './scutil-dns.ts'
export * from './windows-resolver.ts'
