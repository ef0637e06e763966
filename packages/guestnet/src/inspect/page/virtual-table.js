/**
 * A table of which only the rows in sight are elements: nine thousand rows cost as much as forty.
 *
 * ```
 *   viewport ┬ thead, sticky
 *            └ tbody: spacer as high as the rows above · rows in sight, reused · spacer as high as the rows below
 * ```
 */

const ROW_PX = 28
/** Rows kept beyond both edges, so that scrolling does not show the ground. */
const BEYOND = 6

/**
 * @typedef {object} Column
 * @property {string} title In the head.
 * @property {(row: any) => string | number | undefined} value What is sorted by and shown.
 * @property {(value: any, row: any) => string} [text] Default: the value itself.
 * @property {(value: any, row: any) => string} [tone] `good`, `warn`, `bad`, `faint`.
 * @property {boolean} [number] Right-aligned, largest first when it is sorted by.
 */

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

export class VirtualTable {
  #columns
  #rows = []
  #sort
  #viewport
  #body
  #above = element('td')
  #below = element('td')
  #lines = []
  #none
  #table
  #onSelect
  #selected
  #pending = false

  /**
   * @param {HTMLElement} into
   * @param {{ label: string, columns: Column[], sort?: { column: number, down: boolean }, none: string, onSelect?: (row: any) => void }} options
   */
  constructor(into, { label, columns, sort, none, onSelect }) {
    this.#columns = columns
    this.#sort = sort
    this.#onSelect = onSelect
    const head = element('tr')
    for (const [i, column] of columns.entries()) {
      const button = element('button', { type: 'button', textContent: column.title })
      button.addEventListener('click', () => this.#sortBy(i))
      const cell = element('th', { scope: 'col', className: column.number ? 'number' : '' }, button)
      head.append(cell)
    }
    for (const cell of [this.#above, this.#below]) cell.colSpan = columns.length
    const spacer = (cell) => {
      const row = element('tr', { className: 'spacer' }, cell)
      row.setAttribute('aria-hidden', 'true')
      return row
    }
    this.#body = element('tbody', {}, spacer(this.#above), spacer(this.#below))
    this.#table = element('table', {}, element('thead', {}, head), this.#body)
    this.#table.setAttribute('aria-label', label)
    this.#none = element('p', { className: 'none', textContent: none })
    this.#viewport = element('div', { className: 'viewport', tabIndex: 0 }, this.#table, this.#none)
    this.#viewport.addEventListener('scroll', () => this.#drawSoon(), { passive: true })
    new ResizeObserver(() => this.#drawSoon()).observe(this.#viewport)
    into.append(this.#viewport)
    this.#tellSort()
  }

  /** Shows these rows, in the order that was chosen. */
  show(rows) {
    this.#rows = [...rows]
    this.#order()
    this.#drawSoon()
  }

  #sortBy(column) {
    const down =
      this.#sort?.column === column ? !this.#sort.down : Boolean(this.#columns[column].number)
    this.#sort = { column, down }
    this.#tellSort()
    this.#order()
    this.#drawSoon()
  }

  #tellSort() {
    for (const [i, cell] of [...this.#table.tHead.rows[0].cells].entries()) {
      const chosen = this.#sort?.column === i
      cell.ariaSort = chosen ? (this.#sort.down ? 'descending' : 'ascending') : 'none'
    }
  }

  #order() {
    if (!this.#sort) return
    const { value } = this.#columns[this.#sort.column]
    const sign = this.#sort.down ? -1 : 1
    const keyed = this.#rows.map((row) => [value(row) ?? '', row])
    keyed.sort(
      ([a], [b]) =>
        sign *
        (typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1),
    )
    this.#rows = keyed.map(([, row]) => row)
  }

  #drawSoon() {
    if (this.#pending) return
    this.#pending = true
    requestAnimationFrame(() => {
      this.#pending = false
      this.#draw()
    })
  }

  #draw() {
    const count = this.#rows.length
    this.#none.hidden = count > 0
    this.#table.hidden = count === 0
    this.#table.ariaRowCount = String(count + 1)
    const { scrollTop, clientHeight } = this.#viewport
    const first = Math.max(0, Math.min(Math.floor(scrollTop / ROW_PX) - BEYOND, count - 1))
    const inSight = Math.ceil((clientHeight || 600) / ROW_PX) + 2 * BEYOND
    const last = Math.min(count, first + inSight)
    while (this.#lines.length < last - first) this.#lines.push(this.#line())
    for (const spare of this.#lines.splice(Math.max(0, last - first))) spare.remove()
    for (let i = first; i < last; i++) this.#fill(this.#lines[i - first], this.#rows[i], i)
    this.#above.style.height = `${Math.max(0, first) * ROW_PX}px`
    this.#below.style.height = `${Math.max(0, count - last) * ROW_PX}px`
  }

  #line() {
    const line = element('tr')
    for (const column of this.#columns)
      line.append(element('td', { className: column.number ? 'number' : '' }))
    if (this.#onSelect) {
      line.tabIndex = 0
      line.addEventListener('click', () => this.#select(line))
      line.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' || event.key === ' ') {
          event.preventDefault()
          this.#select(line)
        }
      })
    }
    this.#body.lastElementChild.before(line)
    return line
  }

  #select(line) {
    this.#selected = line.row
    this.#onSelect(line.row)
    this.#drawSoon()
  }

  #fill(line, row, index) {
    line.row = row
    line.ariaRowIndex = String(index + 2)
    if (this.#onSelect)
      line.ariaSelected = String(this.#selected !== undefined && this.#selected.id === row.id)
    for (const [i, { value, text, tone, number }] of this.#columns.entries()) {
      const cell = line.cells[i]
      const raw = value(row)
      const shown = text ? text(raw, row) : String(raw ?? '')
      if (cell.textContent !== shown) {
        cell.textContent = shown
        cell.title = shown
      }
      const wanted = `${number ? 'number ' : ''}${tone?.(raw, row) ?? ''}`.trim()
      if (cell.className !== wanted) cell.className = wanted
    }
  }
}
