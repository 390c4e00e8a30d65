import { resolve } from 'node:path'

/** The root of the repository. */
export const repository: string = resolve(import.meta.dirname, '../..')
