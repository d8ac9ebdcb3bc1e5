package records

import "database/sql"

// Exec lets a test make the store's disk full. One connection is all it then
// has, for the setting belongs to it.
func Exec(s *Store, statement string) (sql.Result, error) {
	s.db.SetMaxOpenConns(1)
	return s.db.Exec(statement)
}
