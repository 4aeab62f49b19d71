// Package configfile reads the file that operators describe their instances
// in, and plans what has to change for the registry to be as it says.
//
// # Contract
//
// Pure: bytes in, values out. [Parse] refuses what it does not know, with the
// line; [File.Plan] compares a file with a model and gives operations, which
// somebody else proposes. Planning twice without a change in between gives
// nothing the second time.
//
// # Non-obvious
//
// What a file does not mention stays as it is: a field that is left out is no
// wish for its default, unless the object is new. Only pruning removes, and
// only from lists that are there: instances and configs that the file does not
// list, and keys where it lists any (an empty list removes all).
//
// The model itself judges a plan: it is applied to the model that it was made
// for, and what the model refuses is reported with the line it came from.
package configfile
