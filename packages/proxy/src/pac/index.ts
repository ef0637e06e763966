/**
 * PAC scripts for `settingsSource`. Needs `quickjs-wasi`: scripts come from the network and run in a sandbox of their own.
 *
 * @packageDocumentation
 */
export * from './pac-evaluator.ts'
export { parsePacAnswer, pacUrlOf } from './pac-answer.ts'
