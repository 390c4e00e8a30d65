/** Files that a service keeps for itself. */
export { writePrivateFile } from './private-file.ts'
