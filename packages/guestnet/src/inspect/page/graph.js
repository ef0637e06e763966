/** A line of the last two minutes. */

const SAMPLES = 120
const SVG = 'http://www.w3.org/2000/svg'

export class Graph {
  #values = []
  #line = document.createElementNS(SVG, 'path')
  #area = document.createElementNS(SVG, 'path')
  #now = document.createElement('b')
  #svg = document.createElementNS(SVG, 'svg')
  #title
  #text

  /**
   * @param {HTMLElement} into
   * @param {string} title
   * @param {(value: number) => string} text
   */
  constructor(into, title, text) {
    this.#title = title
    this.#text = text
    const caption = document.createElement('figcaption')
    caption.append(title, this.#now)
    this.#area.classList.add('area')
    this.#svg.setAttribute('viewBox', `0 0 ${SAMPLES - 1} 100`)
    this.#svg.setAttribute('preserveAspectRatio', 'none')
    this.#svg.setAttribute('role', 'img')
    this.#svg.append(this.#area, this.#line)
    const figure = document.createElement('figure')
    figure.append(caption, this.#svg)
    into.append(figure)
  }

  /** Adds the value of this second. */
  add(value) {
    this.#values.push(value)
    if (this.#values.length > SAMPLES) this.#values.shift()
    const most = Math.max(1, ...this.#values)
    const from = SAMPLES - this.#values.length
    const points = this.#values.map((v, i) => `${from + i},${(100 - (v / most) * 96).toFixed(1)}`)
    this.#line.setAttribute('d', `M${points.join('L')}`)
    this.#area.setAttribute('d', `M${from},100L${points.join('L')}L${SAMPLES - 1},100Z`)
    this.#now.textContent = this.#text(value)
    this.#svg.setAttribute(
      'aria-label',
      `${this.#title}: now ${this.#text(value)}, at most ${this.#text(most)}`,
    )
  }
}
