/** What the layers did with one query: filled while `explain` runs the real chain. */

/** One thing that a layer did. */
export interface TraceStep {
  /** The layer. */
  readonly layer: string
  /** What it did, for a person. */
  readonly did: string
}

/** Collects steps in order. */
export class Trace {
  readonly steps: TraceStep[] = []

  /** Adds a step. */
  note(layer: string, did: string): void {
    this.steps.push({ layer, did })
  }
}
