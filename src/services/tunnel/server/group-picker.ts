import type { Backend, BackendPicker } from './backend.ts'

/** The members of a load-balancing group, in turn. */
export class GroupPicker implements BackendPicker {
  readonly #members: Backend[] = []
  #turn = 0

  get size(): number {
    return this.#members.length
  }

  has(proxyName: string): boolean {
    return this.#members.some((member) => member.proxyName === proxyName)
  }

  add(member: Backend): void {
    this.#members.push(member)
  }

  remove(member: Backend): void {
    const index = this.#members.indexOf(member)
    if (index === -1) return
    this.#members.splice(index, 1)
    if (index < this.#turn) this.#turn--
  }

  next(): Backend | undefined {
    if (this.#turn >= this.#members.length) this.#turn = 0
    return this.#members[this.#turn++]
  }
}
