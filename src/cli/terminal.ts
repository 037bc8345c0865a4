/** Where a command says what it did, and what was wrong. */
export interface Terminal {
  log(line: string): void
  error(line: string): void
}
