import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { configReference, REFERENCE_PAGE } from './config-reference.ts'

it('the configuration reference is what the schema says; `npm run docs:config` writes it', () => {
  expect(readFileSync(REFERENCE_PAGE, 'utf8')).toBe(configReference())
})
