/**
 * An HTTP and SOCKS proxy for guests, decided afresh per connection by live settings.
 *
 * @packageDocumentation
 */
export {
  type Authenticator,
  type AuthenticationRequest,
  basicAuthenticator,
  type Challenge,
  type Credentials,
  digestAuthenticator,
} from './authentication.ts'
export * from './ca-bundle.ts'
export * from './client-hello.ts'
export * from './decision.ts'
export { channels } from './diagnostics.ts'
export * from './env-settings.ts'
export {
  compileExceptions,
  type ExceptionOptions,
  type Exceptions,
  type ExceptionTarget,
} from './exceptions.ts'
export * from './host-proxy-sources.ts'
export * from './host-settings/file-settings.ts'
export * from './host-settings/gnome-settings.ts'
export * from './host-settings/host-settings.ts'
export * from './host-settings/kde-settings.ts'
export * from './host-settings/live-settings.ts'
export * from './host-settings/mac-settings.ts'
export * from './host-settings/windows-settings.ts'
export { type FailureCode, ProxyFailure } from './failure.ts'
export type { ProxyClient, TransparentClient } from './session.ts'
export type { TransparentRoute } from './transparent.ts'
export * from './proxy-server.ts'
export * from './proxy-settings.ts'
export type { WayOut } from './upstream.ts'
