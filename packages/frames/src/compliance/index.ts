/**
 * Suites that every implementation of this package's contracts passes, for implementers elsewhere too.
 *
 * @packageDocumentation
 */
export { frameLinkCompliance, type FrameLinkSubject } from './frame-link.ts'
